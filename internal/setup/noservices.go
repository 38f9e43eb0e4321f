package setup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ErrNoServices is the error of HasServices.
var ErrNoServices = errors.New("there is no service manager for you here")

// asked is what a service manager's program says. Of one that fails that is the error.
func asked(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil && text != "" {
		err = errors.New(strings.Join(strings.Fields(text), " "))
	}
	return text, err
}

// Otherwise says how else a command is started at login, in words for people.
func Otherwise(command string) string {
	return otherwise(command, os.Getenv, func(path string) bool { _, err := os.Stat(path); return err == nil })
}

func otherwise(command string, getenv func(string) string, there func(path string) bool) string {
	switch {
	case there("/run/systemd/system"): // which has not seen this login
		return "log in as yourself, at the screen or by ssh, and not by su or sudo; then vmux setup again"
	case getenv("WSL_DISTRO_NAME") != "":
		return "write systemd=true below [boot] in /etc/wsl.conf, run `wsl.exe --shutdown`, then vmux setup again"
	case there("/run/.containerenv") || there("/.dockerenv") || getenv("container") != "":
		return "have the container start `" + command + "` beside what it is for"
	}
	profile := "(" + strings.TrimSpace(command) + " >/dev/null 2>&1 &)"
	return "have `" + command + "` started at login by what does that here; or write `" + profile + "` into ~/.profile"
}
