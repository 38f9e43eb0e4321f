package doctor

import (
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// server is about one server, as a login there showed it.
func server(f Facts) (all []Finding) {
	s := f.Server
	if s == nil {
		return nil
	}
	if !s.LoggedIn {
		return noLogin(f, s)
	}
	all = fine("login", "logged in to %s", s.Host)
	if s.ByOther {
		all = warn("other-key", "vmux server trust "+s.Host, "logged in to %s, and not by a key of the phone's", s.Host)
	} else if f.Status != nil && f.Status.Certificate.State == control.CertificateValid && !s.ByCert {
		all = append(all, warn("no-ca", "vmux server check "+s.Host, "%s does not take the session certificate: the phone is asked at each login there", s.Host)...)
	}
	if v := versionIn(s.Banner); v.before(8, 4) {
		all = append(all, warn("no-passkeys", "use a vault key there", "%s runs OpenSSH %s, which takes no passkeys", s.Host, v)...)
	}
	if s.Clock.Abs() >= wire.ClockWarning {
		all = append(all, warn("clock", "on "+s.Host+": timedatectl set-ntp true", "the clock of %s is off by %d s: certificates are valid late there, or too long", s.Host, int(s.Clock.Abs()/time.Second))...)
	}
	return all
}

// noLogin tells why, where what is wrong has no name yet.
func noLogin(f Facts, s *Server) []Finding {
	switch {
	case strings.Contains(s.Unclear, "REMOTE HOST IDENTIFICATION") || strings.Contains(s.Unclear, "Host key verification failed"):
		return fail("host-key", "ssh "+s.Host+", and compare the fingerprint with the server's", "ssh does not trust the host key of %s", s.Host)
	case s.Banner == "":
		return fail("not-reached", "ssh -v "+s.Host, "%s is not reached: %s", s.Host, s.Unclear)
	case s.WantsMore:
		return fine("wants-more", "%s takes a key of the phone's, and wants more than a key", s.Host)
	case s.Taken:
		return fail("not-signed", "vmux status", "%s takes a key of the phone, and nobody signed", s.Host)
	case f.listed() == 0 || f.Status.Locked:
		return nil
	}
	return fail("no-key", "vmux server trust "+s.Host+", if you can log in there by other means", "%s takes none of the phone's keys", s.Host)
}
