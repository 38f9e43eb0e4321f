package doctor

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/sshconfig"
)

// login logs in to a server as its user would, but with keys alone, and reads what ssh
// tells of it (OpenSSH 8.9 to 10.6, sshconnect2.c). What is run there is the clock; where
// another command is forced, as git hosts do, it is a login all the same.
func (l *looker) login(ctx context.Context) func(*Facts) {
	s := &Server{Host: l.Host}
	log, err := os.CreateTemp("", "vmux-doctor-") // apart from what the ssh of a ProxyJump tells
	if err != nil {
		s.Unclear = err.Error()
		return func(f *Facts) { f.Server = s }
	}
	defer os.Remove(log.Name())
	defer log.Close()
	printed, _, _ := output(ctx, "ssh", "-G", "--", l.Host)
	out, aside, _ := output(ctx, "ssh", slices.Concat([]string{"-v", "-E", log.Name(), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
		"-o", "PreferredAuthentications=publickey"}, sshconfig.OneCommand, sshconfig.Sessions(printed), []string{"--", l.Host, "date +%s"})...)
	if ctx.Err() != nil {
		return nil
	}
	said, err := os.ReadFile(log.Name())
	if err != nil {
		s.Unclear = err.Error()
	}
	accepted := ""
	for line := range strings.Lines(string(said)) {
		line = strings.TrimSpace(line)
		words, debug := strings.CutPrefix(line, "debug1: ")
		switch {
		case strings.HasPrefix(line, "OpenSSH_"): // of ssh itself, which -v tells first
		case strings.HasPrefix(words, "Authenticated to "):
			s.LoggedIn = true
		case strings.HasPrefix(words, "Authenticated ") && strings.Contains(words, "with partial success"):
			s.WantsMore = l.ofAgent(accepted)
		case !debug && line != "":
			s.Unclear = strings.TrimPrefix(s.Unclear+"; "+line, "; ")
		case strings.HasPrefix(words, "Remote protocol version "):
			_, s.Banner, _ = strings.Cut(words, "remote software version ")
		case strings.HasPrefix(words, "Server accepts key: "):
			accepted = words
			s.Taken = s.Taken || l.ofAgent(accepted)
		}
	}
	if s.Banner == "" { // its way there may have failed
		for line := range strings.Lines(aside) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "debug1: ") && !strings.HasPrefix(line, "OpenSSH_") {
				s.Unclear = strings.TrimPrefix(s.Unclear+"; "+line, "; ")
			}
		}
	}
	s.ByCert = s.LoggedIn && strings.Contains(accepted, "-CERT")
	s.ByOther = s.LoggedIn && l.facts.Status != nil && !l.ofAgent(accepted)
	if seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err == nil {
		s.Clock = time.Until(time.Unix(seconds, 0)).Round(time.Second)
	}
	return func(f *Facts) { f.Server = s }
}

// ofAgent reports whether the key that ssh names is one of the agent's, and not in a file.
func (l *looker) ofAgent(named string) bool {
	return l.facts.Status != nil && slices.ContainsFunc(l.facts.Status.Identities, func(i control.Identity) bool {
		return slices.Contains(strings.Fields(named), i.Fingerprint)
	})
}
