package setup

// Parts are those that there are here, in the order in which they are made. The menu bar
// is launched at login by System Settings.
var Parts = []string{PartSSH, PartService, PartEnvironment, PartShell}

func (w Wish) service() []Change { return w.launchdService(launchdAgent, "agent") }

func (w Wish) phone() []Change { return w.launchdService(launchdPhone, "phone", "run") }

func (w Wish) environment() []Change { return w.launchctlSetenv() }

// bashFiles are what bash reads in a new terminal: a login shell, each time.
func (w Wish) bashFiles() []string { return []string{w.bashProfile()} }
