package doctor

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// login logs in to a server as its user would, but with keys alone, and reads what ssh
// tells of it (OpenSSH 8.9 to 10.6, sshconnect2.c). What is run there is the clock.
func (l *looker) login(ctx context.Context) func(*Facts) {
	out, said, err := output(ctx, "ssh", "-v", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlPath=none",
		"-o", "PreferredAuthentications=publickey", "-T", "--", l.Host, "date +%s")
	if ctx.Err() != nil {
		return nil
	}
	s := &Server{Host: l.Host, LoggedIn: err == nil}
	accepted := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		words, debug := strings.CutPrefix(line, "debug1: ")
		switch {
		case strings.HasPrefix(line, "OpenSSH_"): // of ssh itself, which -v tells first
		case !debug && line != "":
			s.Unclear = strings.TrimPrefix(s.Unclear+"; "+line, "; ")
		case strings.HasPrefix(words, "Remote protocol version "):
			_, s.Banner, _ = strings.Cut(words, "remote software version ")
		case strings.HasPrefix(words, "Server accepts key: "):
			accepted, s.Taken = words, true
		}
	}
	s.ByCert = s.LoggedIn && strings.Contains(accepted, "-CERT")
	if seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err == nil {
		s.Clock = time.Until(time.Unix(seconds, 0)).Round(time.Second)
	}
	return func(f *Facts) { f.Server = s }
}
