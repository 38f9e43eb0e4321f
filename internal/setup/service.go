package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// units are enabled together: the socket is there from the login on, and the agent, too,
// since one that only the first ssh starts has yet to find the phone.
var units = []string{"vmux-agent.socket", "vmux-agent.service"}

// service is the agent as two user units of systemd, which holds the socket.
func (w Wish) service() []Change {
	folder := filepath.Join(w.configurations(), "systemd", "user")
	var environment strings.Builder
	for _, e := range w.Environment {
		environment.WriteString("Environment=" + systemdQuote(e) + "\n")
	}
	return []Change{
		{Path: filepath.Join(folder, units[0]), Own: true, mode: 0o600, Lines: marked + `[Unit]
Description=Socket of the SSH agent whose keys are on a phone

[Socket]
ListenStream=` + strings.ReplaceAll(w.Socket, "%", "%%") + `
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`},
		{Path: filepath.Join(folder, units[1]), Own: true, mode: 0o600, Lines: marked + `[Unit]
Description=SSH agent whose keys are on a phone
Documentation=man:vmux-agent(1)
# A crash ends with status 2, as wrong usage does, which does not become right by itself.
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
ExecStart=` + systemdQuote(w.Program) + ` agent
` + environment.String() + `Restart=on-failure
RestartSec=2
# The session certificate's key lives in this process's memory.
LimitCORE=0
NoNewPrivileges=yes

[Install]
WantedBy=default.target
`},
		{Path: folder, Unit: strings.Join(units, " ")},
	}
}

// systemdQuote makes one word of s in a unit (systemd.syntax(7), systemd.service(5)).
func systemdQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}

// ErrNoServices is the error of HasServices.
var ErrNoServices = errors.New("there is no service manager (systemd --user) for you here")

// HasServices reports whether systemd runs services for this user: it does not in a
// container, in WSL without it, with another init, and often after su or sudo.
func HasServices() error {
	if _, err := systemctl("show-environment"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoServices, err)
	}
	return nil
}

// systemctl asks the user's service manager.
func systemctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", append([]string{"--user", "--no-ask-password"}, args...)...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil && text != "" {
		err = errors.New(strings.Join(strings.Fields(text), " "))
	}
	return text, err
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

// enable records the units before it enables them, with the folders that this makes.
func (r *Record) enable(c Change) error {
	e := entry{Part: c.part, Path: c.Path, Unit: c.Unit}
	if err := r.drop(e); err != nil {
		return err
	}
	if err := r.add(e, filepath.Join(c.Path, wants[units[0]], units[0]), filepath.Join(c.Path, wants[units[1]], units[1])); err != nil {
		return err
	}
	if _, err := systemctl("daemon-reload"); err != nil {
		return fmt.Errorf("have systemd read its units: %w", err)
	}
	if _, err := systemctl(append([]string{"enable", "--now"}, strings.Fields(c.Unit)...)...); err != nil {
		return fmt.Errorf("enable %s: %w", c.Unit, err)
	}
	return nil
}

// wants are the folders in which systemd keeps what is enabled, by the units.
var wants = map[string]string{units[0]: "sockets.target.wants", units[1]: "default.target.wants"}

// disable stops the units. Where no service manager answers, or it does not know them,
// none of them runs, and their links are removed all the same.
func disable(folder string) error {
	if HasServices() == nil {
		if _, err := systemctl(append([]string{"disable", "--now"}, units...)...); err != nil {
			_, _ = systemctl(append([]string{"stop"}, units...)...) // a unit that runs though its file is gone
			if _, runs := systemctl(append([]string{"is-active", "--quiet"}, units...)...); runs == nil {
				return fmt.Errorf("disable %v: %w", units, err)
			}
		}
	}
	for unit, where := range wants {
		if err := os.Remove(filepath.Join(folder, where, unit)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// reload has systemd forget units that are gone.
func reload() { _, _ = systemctl("daemon-reload") }
