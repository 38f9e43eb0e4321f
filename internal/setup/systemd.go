package setup

import (
	_ "embed"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// units are enabled together: the socket is there from the login on, and the agent, too,
// since one that only the first ssh starts has yet to find the phone.
var units = []string{"vmux-agent.socket", "vmux-agent.service"}

const phoneUnit = "vmux-phone.service"

// The units as packages install them, for every user of a computer.
var (
	//go:embed vmux-agent.socket
	socketText string
	//go:embed vmux-agent.service
	serviceText string
	//go:embed vmux-phone.service
	phoneText string

	unitTexts = map[string]string{units[0]: socketText, units[1]: serviceText, phoneUnit: phoneText}
)

// systemd is the agent as two user units of systemd, which holds the socket.
func (w Wish) systemd() []Change {
	folder := filepath.Join(w.managed(), "systemd", "user")
	enable := Change{Path: folder, Unit: strings.Join(units, " ")}
	if w.packaged(units...) && w.Socket == filepath.Join(w.Home, ".ssh", "vmux-agent.sock") {
		return []Change{enable}
	}
	socket := "ListenStream=" + strings.ReplaceAll(w.Socket, "%", "%%") + "\n"
	return []Change{
		{Path: filepath.Join(folder, units[0]), Own: true, mode: 0o600,
			Lines: marked + strings.Replace(unitTexts[units[0]], "ListenStream=%h/.ssh/vmux-agent.sock\n", socket, 1)},
		{Path: filepath.Join(folder, units[1]), Own: true, mode: 0o600,
			Lines: marked + w.starting(unitTexts[units[1]])},
		enable,
	}
}

// phoneService is vmux phone as a user unit of systemd.
func (w Wish) phoneService() []Change {
	folder := filepath.Join(w.managed(), "systemd", "user")
	enable := Change{Path: folder, Unit: phoneUnit}
	if w.packaged(phoneUnit) {
		return []Change{enable}
	}
	return []Change{{Path: filepath.Join(folder, phoneUnit), Own: true, mode: 0o600, Lines: marked + w.starting(unitTexts[phoneUnit])}, enable}
}

// starting is a unit that starts this person's vmux, with what it has to have.
func (w Wish) starting(unit string) string {
	before, after, _ := strings.Cut(unit, "ExecStart=/usr/bin/vmux")
	command, after, _ := strings.Cut(after, "\n")
	start := "ExecStart=" + systemdQuote(w.Program) + command + "\n"
	for _, e := range w.Environment {
		start += "Environment=" + systemdQuote(e) + "\n"
	}
	return before + start + after
}

// packaged reports whether a package's units do what this person's would: then those that
// come with its next version count.
func (w Wish) packaged(units ...string) bool {
	if w.Program != "/usr/bin/vmux" || len(w.Environment) > 0 {
		return false
	}
	for _, name := range units {
		if b, err := os.ReadFile(filepath.Join(w.Packaged, name)); err != nil || string(b) != unitTexts[name] {
			return false
		}
	}
	return true
}

// systemdQuote makes one word of s in a unit (systemd.syntax(7), systemd.service(5)).
func systemdQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}

// environmentD tells the programs that the desktop starts (environment.d(5)); it
// counts from the next login. The sockets of other agents name themselves to systemd at
// each login, which wins over that: where vmux has a socket, it does so after them.
func (w Wish) environmentD() (all []Change) {
	socket, home := w.Socket, ""
	if below, ok := strings.CutPrefix(socket, filepath.Clean(w.Home)+"/"); ok {
		socket, home = below, "${HOME}/"
	}
	all = []Change{{
		Path: filepath.Join(w.managed(), "environment.d", "vmux.conf"), Own: true, mode: 0o600,
		Lines: marked + "SSH_AUTH_SOCK=" + home + environmentQuote(socket) + "\n",
	}}
	if slices.Contains(w.Parts, PartService) {
		named := strings.ReplaceAll(systemdQuote("SSH_AUTH_SOCK="+w.Socket), "$", "$$")
		all = append(all, Change{
			Path: filepath.Join(w.managed(), "systemd", "user", units[0]+".d", "environment.conf"), Own: true, mode: 0o600,
			Lines: marked + "[Unit]\nAfter=ssh-agent.socket gcr-ssh-agent.socket gpg-agent-ssh.socket\n\n" +
				"[Socket]\nExecStartPost=-systemctl --user set-environment " + named + "\n",
			part: PartService, // systemd is to read it
		})
	}
	return all
}

// environmentQuote makes a part of a value of s in environment.d, where $ begins a name, and
// quotes and backslashes are a shell's.
func environmentQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`, "$", "$$").Replace(s)
}
