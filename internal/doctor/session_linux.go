package doctor

import (
	"context"
	"os"
	"path"
	"strconv"
	"strings"
)

const serviceHint = "vmux setup --parts service"

// desktopHint has both parts: only a socket of systemd's is named after those of other agents.
func desktopHint(string) string { return "vmux setup --parts service,environment, and log in anew" }

// desktop asks systemd, which starts what a desktop starts. There is a desktop if one
// has told systemd of its display.
func (l *looker) desktop(ctx context.Context) func(*Facts) {
	out, _, err := output(ctx, "systemctl", "--user", "show-environment")
	if ctx.Err() != nil {
		return nil
	}
	d := DesktopEnv{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "DISPLAY", "WAYLAND_DISPLAY":
			d.Known = err == nil
		case "SSH_AUTH_SOCK":
			d.Named = l.named(value)
		}
	}
	if environment, there := desktopsProgram(); there {
		d.Untold = !l.named(environment["SSH_AUTH_SOCK"]).Ours
	}
	return func(f *Facts) { f.Desktop = d }
}

// desktopsProgram is the environment, as it was started, of what the desktop has started and
// this process comes from, as a terminal's window. Of a terminal multiplexer it tells nothing.
func desktopsProgram() (environment map[string]string, there bool) {
	if os.Getenv("TMUX")+os.Getenv("STY") != "" {
		return nil, false
	}
	for pid := strconv.Itoa(os.Getppid()); pid != "0"; {
		b, err := os.ReadFile("/proc/" + pid + "/environ")
		stat, err2 := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || err2 != nil {
			break // the display manager, which is root's
		}
		named := map[string]string{}
		for entry := range strings.SplitSeq(string(b), "\x00") {
			name, value, _ := strings.Cut(entry, "=")
			named[name] = value
		}
		if named["DISPLAY"]+named["WAYLAND_DISPLAY"] != "" {
			environment, there = named, true
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // state, parent (proc_pid_stat(5))
		if len(fields) < 2 {
			break
		}
		pid = fields[1]
	}
	return environment, there
}

// service asks systemd for the units of docs/login-service.md. An agent that runs in
// some other service is started by that.
func (l *looker) service(ctx context.Context) func(*Facts) {
	out, _, err := output(ctx, "systemctl", "--user", "show", "--property=ActiveState,UnitFileState", "vmux-agent.service", "vmux-agent.socket")
	if ctx.Err() != nil {
		return nil
	}
	s := Service{Known: err == nil, Start: "systemctl --user start vmux-agent", Log: "journalctl --user -u vmux-agent -n 20"}
	_, socket, _ := strings.Cut(out, "\n\n") // the second unit's
	for line := range strings.Lines(out) {
		switch strings.TrimSpace(line) {
		case "ActiveState=failed":
			s.Failed = true
		case "UnitFileState=enabled", "UnitFileState=enabled-runtime", "UnitFileState=linked", "UnitFileState=static":
			s.Enabled, s.Restart = true, "systemctl --user restart vmux-agent"
		}
	}
	if s.Failed { // neither is started by itself, nor at once if it ended too often
		units := "vmux-agent.service"
		if strings.Contains(socket, "UnitFileState=enabled") || strings.Contains(socket, "ActiveState=failed") {
			units = "vmux-agent.socket " + units
		}
		s.Start = "systemctl --user reset-failed " + units + "; systemctl --user start " + units
	}
	if s.Restart != "" && strings.Contains(socket, "ActiveState=active") { // which holds the socket, and is not started again while the service runs
		s.Restart = "systemctl --user stop vmux-agent.socket vmux-agent.service; systemctl --user start vmux-agent.socket vmux-agent.service"
	}
	if l.facts.Status != nil {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(l.facts.Status.PID) + "/cgroup") // no such file: as if in none
		group := path.Base(strings.TrimSpace(lastLine(string(b))))
		s.Enabled = s.Enabled || strings.HasSuffix(group, ".service")
	}
	return func(f *Facts) { f.Service = s }
}
