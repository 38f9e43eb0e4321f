//go:build !linux && !darwin

package agent

// programOf knows nothing here.
func programOf(int) (string, int, bool) { return "", 0, false }
