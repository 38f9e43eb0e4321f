package doctor

import (
	"context"
	"os"
	"strconv"
	"strings"
)

const serviceHint = "docs/login-service.md has the file for launchd"

func desktopHint(socket string) string { return "launchctl setenv SSH_AUTH_SOCK " + socket }

// desktop asks launchd, which starts whatever has a window.
func (l *looker) desktop(ctx context.Context) func(*Facts) {
	out, _, err := output(ctx, "launchctl", "getenv", "SSH_AUTH_SOCK")
	if ctx.Err() != nil {
		return nil
	}
	return func(f *Facts) { f.Desktop = DesktopEnv{Known: err == nil, Named: l.named(strings.TrimSpace(out))} }
}

// service asks launchd for the service of docs/login-service.md.
func (l *looker) service(ctx context.Context) func(*Facts) {
	target := "gui/" + strconv.Itoa(os.Getuid()) + "/vmux.agent"
	_, _, err := output(ctx, "launchctl", "print", target)
	if ctx.Err() != nil {
		return nil
	}
	s := Service{Known: true, Enabled: err == nil, Start: "launchctl kickstart " + target, Log: "tail ~/Library/Logs/vmux-agent.log"}
	if s.Enabled {
		s.Restart = "launchctl kickstart -k " + target
	}
	return func(f *Facts) { f.Service = s }
}
