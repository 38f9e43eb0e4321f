package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// RestartHint is how a person starts the agent again.
const RestartHint = "launchctl kickstart -k gui/$(id -u)/vmux.agent, or end and start it as you did"

// RestartService starts the agent again, if the service that setup has written runs it.
func RestartService() bool {
	_, err := launchctl("kickstart", "-k", session()+"/"+launchdAgent)
	return err == nil
}

// HasServices reports whether launchd runs agents for this user: it does for who is
// logged in at the screen, and not for a login by ssh alone.
func HasServices() error {
	if _, err := launchctl("print", session()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoServices, err)
	}
	return nil
}

// ManagersFolder is for service managers that can be told another folder.
func ManagersFolder(string) string { return "" }

func session() string { return fmt.Sprintf("gui/%d", os.Getuid()) }

func launchctl(args ...string) (string, error) { return asked("launchctl", args...) }

// enabled reports whether launchd has all of the agents.
func enabled(labels string) bool {
	for _, label := range strings.Fields(labels) {
		if _, err := launchctl("print", session()+"/"+label); err != nil {
			return false
		}
	}
	return true
}

func failed(string) bool { return false } // launchd starts it again for good

func linksOf(_, _ string) []string { return nil }

func start(folder, labels string) error {
	for _, label := range strings.Fields(labels) {
		_, _ = launchctl("bootout", session()+"/"+label) // as it was before
		if _, err := launchctl("bootstrap", session(), filepath.Join(folder, label+".plist")); err != nil {
			return fmt.Errorf("start %s: %w", label, err)
		}
	}
	return nil
}

func disable(_, labels string) error {
	for _, label := range strings.Fields(labels) {
		if _, err := launchctl("bootout", session()+"/"+label); err != nil && enabled(label) {
			return fmt.Errorf("end %s: %w", label, err)
		}
		if label == launchdEnvironment {
			_, _ = launchctl("unsetenv", "SSH_AUTH_SOCK")
		}
	}
	return nil
}

// letGo has nothing to do: the agent removes its socket when it ends.
func letGo(string) {}

func reload() {}
