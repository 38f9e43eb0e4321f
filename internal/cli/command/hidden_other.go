//go:build !linux && !darwin

package command

// hideAgain is for systems whose shells stop programs.
func (o *IO) hideAgain(int, string) (end func()) { return func() {} }
