package setup

// Parts are those that there are here, in the order in which they are made.
var Parts = []string{PartSSH, PartService, PartEnvironment, PartShell, PartTray}

func (w Wish) service() []Change { return w.systemd() }

func (w Wish) environment() []Change { return w.environmentD() }

// bashFile is what bash reads in a new terminal.
func (w Wish) bashFile() string { return ".bashrc" }
