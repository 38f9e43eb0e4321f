package certificate

import (
	"bytes"
	"context"

	"vmux/internal/agent/journal"
	"vmux/internal/device"
)

// Close destroys the certificate and its key, and withdraws what is asked for.
func (m *Manager) Close() { m.change(m.closeLocked) }

func (m *Manager) closeLocked() {
	m.session, m.old, m.expired = nil, nil, nil
	m.withdrawLocked(errRemoved)
}

// withdrawLocked ends a request that is under way; what has come just now is not
// put in place.
func (m *Manager) withdrawLocked(cause error) {
	if m.inFlight != nil {
		m.inFlight.cancel(cause)
		m.inFlight = nil
	}
}

// Remove is ssh-add -D, or -d of the certificate: it destroys the certificate and its key. None is asked for
// automatically until the user requests one or a phone connects anew.
func (m *Manager) Remove() {
	m.change(func() {
		m.closeLocked()
		m.held = heldRemoved
	})
	m.Journal.Note(journal.KindCertificate, "Session certificate removed by ssh-add", "")
	m.Log.Info("session certificate removed")
}

// Forget destroys a certificate that a phone has issued: the phone is no longer
// paired.
func (m *Manager) Forget(phone device.ID) {
	m.change(func() {
		if m.inFlight != nil && m.inFlight.wanted.Phone.ID == phone {
			m.withdrawLocked(context.Canceled)
		}
		m.dropLocked(func(s *Session) bool { return s.Phone == phone })
	})
}

// Revoke destroys certificates whose serials their phone has revoked. None is asked
// for automatically until the user requests one or a phone connects anew: who
// revokes does not want to be asked at once.
func (m *Manager) Revoke(phone device.Peer, serials []string) {
	dropped := false
	ca, _ := m.CAs.Of(phone.ID)
	m.change(func() {
		dropped = m.dropLocked(func(s *Session) bool {
			// A phone that has the CA from a backup speaks for it as well.
			issued := s.Phone == phone.ID || len(ca) > 0 && bytes.Equal(s.Certificate.SignatureKey.Marshal(), ca)
			return issued && s.hasSerial(serials)
		})
		if dropped {
			m.held = heldRemoved
		}
	})
	if dropped {
		m.Journal.Note(journal.KindCertificate, "Session certificate revoked on "+phone.Name.String(), "")
		m.Log.Warn("session certificate revoked", "phone", phone.ID.Short())
	}
}

// dropLocked forgets the certificates of which that is true.
func (m *Manager) dropLocked(which func(*Session) bool) (dropped bool) {
	for _, s := range []**Session{&m.session, &m.old, &m.expired} {
		if *s != nil && which(*s) {
			*s, dropped = nil, true
		}
	}
	return dropped
}

// revoked reports whether the phone has told meanwhile that it revokes the
// certificate that it has just sent.
func (m *Manager) revoked(s *Session) bool {
	for _, p := range m.Phones() {
		if p.ID == s.Phone {
			return s.hasSerial(p.Hello.RevokedSerials)
		}
	}
	return false
}
