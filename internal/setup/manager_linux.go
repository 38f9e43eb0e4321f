package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// RestartHint is how a person starts the agent again.
const RestartHint = "systemctl --user restart vmux-agent, or end and start it as you did"

// RestartService starts the agent again, if the service that setup has written runs it.
func RestartService() bool {
	if _, err := systemctl("is-active", "--quiet", units[1]); err != nil {
		return false
	}
	_, err := systemctl("restart", units[1])
	return err == nil
}

// HasServices reports whether systemd runs services for this user: it does not in a
// container, in WSL without it, with another init, and often after su or sudo.
func HasServices() error {
	if _, err := systemctl("show-environment"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoServices, err)
	}
	return nil
}

// ManagersFolder is where the user's service manager looks for its files: its
// XDG_CONFIG_HOME is not that of a shell that has set one. It is empty where none
// answers, or where it is of another home folder.
func ManagersFolder(home string) string {
	environment, err := systemctl("show-environment")
	if err != nil {
		return ""
	}
	folder := filepath.Join(home, ".config")
	for line := range strings.Lines(environment) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case name == "HOME" && filepath.Clean(value) != filepath.Clean(home):
			return ""
		case name == "XDG_CONFIG_HOME" && filepath.IsAbs(value):
			folder = value
		}
	}
	return folder
}

// systemctl asks the user's service manager.
func systemctl(args ...string) (string, error) {
	return asked("systemctl", append([]string{"--user", "--no-ask-password"}, args...)...)
}

// enabled reports whether all of the units are.
func enabled(units string) bool {
	for _, unit := range strings.Fields(units) {
		if _, err := systemctl("is-enabled", "--quiet", unit); err != nil {
			return false
		}
	}
	return true
}

// failed reports whether one of the units has: systemd has given up a service that ended too
// often, and with it its socket.
func failed(units string) bool {
	_, err := systemctl(append([]string{"is-failed", "--quiet"}, strings.Fields(units)...)...)
	return err == nil
}

// linksOf are the links by which systemd keeps that the units are enabled.
func linksOf(folder, units string) (links []string) {
	for _, unit := range strings.Fields(units) {
		target := "default.target.wants"
		if strings.HasSuffix(unit, ".socket") {
			target = "sockets.target.wants"
		}
		links = append(links, filepath.Join(folder, target, unit))
	}
	return links
}

func start(_, units string) error {
	if _, err := systemctl("daemon-reload"); err != nil {
		return fmt.Errorf("have systemd read its units: %w", err)
	}
	_, _ = systemctl(append([]string{"reset-failed"}, strings.Fields(units)...)...) // else one that ended too often is not started
	if _, err := systemctl(append([]string{"enable", "--now"}, strings.Fields(units)...)...); err != nil {
		return fmt.Errorf("enable %s: %w", units, err)
	}
	return nil
}

// disable stops the units. Where no service manager answers, or it does not know them,
// none of them runs, and their links are removed all the same.
func disable(folder, names string) error {
	if units := strings.Fields(names); HasServices() == nil {
		if _, err := systemctl(append([]string{"disable", "--now"}, units...)...); err != nil {
			_, _ = systemctl(append([]string{"stop"}, units...)...) // a unit that runs though its file is gone
			if _, runs := systemctl(append([]string{"is-active", "--quiet"}, units...)...); runs == nil {
				return fmt.Errorf("disable %v: %w", units, err)
			}
		}
	}
	for _, link := range linksOf(folder, names) {
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// letGo stops units that are about to be replaced by ones with another socket, while
// systemd knows the old one, whose file goes with it. Units that systemd has from
// elsewhere are not those.
func letGo(path string) {
	if known, err := systemctl("show", "--property=FragmentPath", "--value", filepath.Base(path)); err == nil && sameFile(known, path) {
		_, _ = systemctl(append([]string{"stop"}, units...)...)
	}
}

// reload has systemd forget units that are gone.
func reload() { _, _ = systemctl("daemon-reload") }
