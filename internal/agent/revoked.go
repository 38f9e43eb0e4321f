package agent

import (
	"slices"
	"strconv"

	"vmux/internal/agent/journal"
	"vmux/internal/device"
)

// revoked reports whether the phone has told meanwhile that it revokes the
// certificate that it has just sent.
func (a *Agent) revoked(s *session) bool {
	for _, p := range a.node.Peers() {
		if p.ID == s.phone {
			return slices.Contains(p.Hello.RevokedSerials, strconv.FormatUint(s.cert.Serial, 10))
		}
	}
	return false
}

// dropRevoked destroys session certificates that their phone has revoked. None
// is asked for automatically until the user requests one or a phone connects
// anew: who revokes does not want to be asked at once.
func (a *Agent) dropRevoked(p device.Peer, serials []string) {
	a.mu.Lock()
	c := &a.cert
	dropped := false
	for _, s := range []**session{&c.session, &c.old, &c.expired} {
		if *s != nil && (*s).phone == p.ID && slices.Contains(serials, strconv.FormatUint((*s).cert.Serial, 10)) {
			*s, dropped = nil, true
		}
	}
	if dropped {
		c.held = heldRemoved
		a.rebuildLocked()
		a.journal.Note(journal.KindCertificate, "Session certificate revoked on "+p.Name, "")
	}
	a.mu.Unlock()
	if dropped {
		a.log.Warn("session certificate revoked", "phone", p.ID.Short())
		a.notify("The session certificate was revoked on " + p.Name + ".")
	}
}
