//go:build !linux && !darwin

package setup

// Parts are those that there are here, in the order in which they are made.
var Parts = []string{PartSSH, PartShell}

func (w Wish) service() []Change { return nil }

func (w Wish) phone() []Change { return nil }

func (w Wish) environment() []Change { return nil }

// bashFiles are what bash reads in a new terminal.
func (w Wish) bashFiles() []string { return []string{".bashrc"} }
