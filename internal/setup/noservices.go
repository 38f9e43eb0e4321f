package setup

import (
	"errors"
	"os"
	"strings"
)

// ErrNoServices is the error of HasServices.
var ErrNoServices = errors.New("there is no service manager for you here")

// Otherwise says how else a command is started at login, in words for people.
func Otherwise(command string) string {
	return surroundings(os.Getenv, func(path string) bool { _, err := os.Stat(path); return err == nil }).otherwise(command)
}

// surrounding is why no service manager answers.
type surrounding int

const (
	otherInit surrounding = iota
	inWSL
	inContainer
	otherLogin // systemd runs, and has not seen this login
)

func surroundings(getenv func(string) string, there func(path string) bool) surrounding {
	switch {
	case there("/run/systemd/system"):
		return otherLogin
	case getenv("WSL_DISTRO_NAME") != "":
		return inWSL
	case there("/run/.containerenv") || there("/.dockerenv") || getenv("container") != "":
		return inContainer
	}
	return otherInit
}

func (s surrounding) otherwise(command string) string {
	switch s {
	case inWSL:
		return "write systemd=true below [boot] in /etc/wsl.conf, run `wsl.exe --shutdown`, then vmux setup again"
	case inContainer:
		return "have the container start `" + command + "` beside what it is for"
	case otherLogin:
		return "log in as yourself, at the screen or by ssh, and not by su or sudo; then vmux setup again"
	}
	profile := "(" + strings.TrimSpace(command) + " >/dev/null 2>&1 &)"
	return "have `" + command + "` started at login by what does that here; or write `" + profile + "` into ~/.profile"
}
