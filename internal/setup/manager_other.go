//go:build !linux && !darwin

package setup

// RestartHint is how a person starts the agent again.
const RestartHint = "end it and start it as you did"

// RestartService starts the agent again, if a service that setup has written runs it.
func RestartService() bool { return false }

// HasServices reports whether there is a service manager that setup knows.
func HasServices() error { return ErrNoServices }

// ManagersFolder is for service managers that can be told another folder.
func ManagersFolder(string) string { return "" }

func enabled(string) bool { return false }

func failed(string) bool { return false }

func linksOf(_, _ string) []string { return nil }

func start(_, _ string) error { return ErrNoServices }

func disable(_, _ string) error { return nil }

func letGo(string) {}

func reload() {}
