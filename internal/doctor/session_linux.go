package doctor

import (
	"context"
	"os"
	"path"
	"strconv"
	"strings"
)

const serviceHint = "vmux setup --parts service"

func desktopHint(string) string { return "vmux setup --parts environment, and log in anew" }

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
	return func(f *Facts) { f.Desktop = d }
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
