package certificate

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

var (
	errRemoved = control.Errorf(control.CodeBusy, "run `vmux cert request` again", "The session certificate was removed meanwhile.")
	errRevoked = wire.Errorf(wire.CodeUserDenied, "The certificate was revoked on the phone.")
)

// Wanted is a certificate that is asked for.
type Wanted struct {
	Phone      device.Peer
	Validity   time.Duration
	Identity   []byte // blob of the key that is to issue it; nil: the phone's default
	Principals []string

	automatic bool
}

// same reports whether both get the same certificate.
func (w Wanted) same(o Wanted) bool {
	return w.Phone.ID == o.Phone.ID && w.Validity == o.Validity &&
		bytes.Equal(w.Identity, o.Identity) && slices.Equal(w.Principals, o.Principals)
}

// request is one request for a certificate, which many may wait for.
type request struct {
	wanted Wanted
	done   chan struct{}
	err    error // once it is done

	cancel  context.CancelCauseFunc // guarded by Manager.mu, as what follows
	waiters int
}

// Request asks for a certificate, or joins who asks for the same, and returns once
// it is in place. A request that nobody waits for any more is withdrawn.
func (m *Manager) Request(ctx context.Context, w Wanted) error {
	if err := m.CAs.unconfirmed(w.Phone); err != nil {
		return err // before the phone is asked for what cannot be used
	}
	r, err := m.join(w)
	if err != nil {
		return err
	}
	defer m.leave(r)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join starts asking for a certificate, or joins who asks for the same. The
// caller that is not automatic must leave.
func (m *Manager) join(w Wanted) (*request, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.inFlight; r != nil {
		if !w.same(r.wanted) {
			return nil, control.Errorf(control.CodeBusy,
				"answer it on the phone, then run the command again", "Another certificate is being asked for.")
		}
		if !w.automatic {
			r.waiters++
		}
		return r, nil
	}
	r := &request{wanted: w, done: make(chan struct{}), cancel: func(error) {}}
	if !m.Go(func(ctx context.Context) { m.run(ctx, r) }) {
		return nil, context.Canceled
	}
	if !w.automatic {
		r.waiters = 1
		m.held, m.retryAt = heldNot, time.Time{}
	}
	m.inFlight = r
	return r, nil
}

// leave stops waiting. A request that nobody waits for any more is withdrawn,
// unless the agent itself wants it.
func (m *Manager) leave(r *request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.waiters--; r.waiters == 0 && !r.wanted.automatic {
		r.cancel(context.Canceled)
		if m.inFlight == r { // nobody must join what is withdrawn
			m.inFlight = nil
		}
	}
}

// run asks, and puts what comes in place.
func (m *Manager) run(ctx context.Context, r *request) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.mu.Lock()
	r.cancel = cancel
	var err error
	switch {
	case m.inFlight != r:
		err = errRemoved
	case !r.wanted.automatic && r.waiters == 0: // who wanted it has left already
		err = context.Canceled
	}
	m.mu.Unlock()
	var s *Session
	if err == nil {
		s, err = m.fetch(ctx, r.wanted)
	}
	m.finish(r, s, err)
	close(r.done)
	m.RenewIfDue()
}

// fetch asks one phone and verifies what it sends.
func (m *Manager) fetch(ctx context.Context, w Wanted) (*Session, error) {
	s, err := newSession()
	if err != nil {
		return nil, err
	}
	answer, err := m.Ask(ctx, w.Phone.ID, wire.CertificateRequest{
		PublicKeyBlob: s.key.PublicKey().Marshal(), RequestedValiditySeconds: int64(w.Validity / time.Second),
		IdentityPublicKeyBlob: w.Identity, Principals: w.Principals, Automatic: w.automatic,
	})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if s.Certificate, err = verify(&answer, s.key.PublicKey(), w.Validity, now); err != nil {
		m.Log.Error("certificate refused", "request", answer.RequestID, "error", err)
		return nil, wire.Errorf(wire.CodeInternalError, "The phone's certificate was refused: %s.", err)
	}
	if err := m.CAs.Check(w.Phone, answer.CAPublicKey); err != nil {
		return nil, err
	}
	s.Blob, s.Phone = s.Certificate.Marshal(), w.Phone.ID
	s.life = s.validBefore().Sub(now.Round(0))
	return s, nil
}

// finish ends the request and puts the new certificate in place of the old one.
func (m *Manager) finish(r *request, s *Session, err error) {
	if err == nil && m.revoked(s) {
		err = errRevoked
	}
	m.change(func() {
		switch {
		case m.inFlight != r: // removed meanwhile: what came is not used
			if err == nil {
				err = errRemoved
			}
		case err != nil:
			m.inFlight = nil
			m.holdAfterLocked(err, time.Now())
		default:
			m.inFlight = nil
			m.replaceLocked(s, time.Now())
		}
	})
	r.err = err
	m.Journal.Change() // nobody is asked any more
	switch {
	case err == nil:
		m.Log.Info("session certificate in place", "phone", s.Phone.Short(), "serial", s.Certificate.Serial, "until", s.validBefore())
		m.Journal.Succeed(journal.KindCertificate, "Session certificate issued")
	case wire.CodeOf(err) != control.CodeBusy && !isCanceled(err):
		m.Journal.Fail(journal.KindCertificate, "Session certificate", err)
	}
}

func (m *Manager) replaceLocked(s *Session, now time.Time) {
	m.old, m.oldUntil = m.session, now.Round(0).Add(graceOfOld)
	m.session, m.expired, m.held, m.retryAt = s, nil, heldNot, time.Time{}
	if m.old != nil && !s.validBefore().After(m.old.validBefore()) {
		// The phone gives none that lasts longer (a key's hours end, say): to ask
		// ever more often for what is left would help nobody.
		m.retryAt = s.validBefore()
	}
}

// Issuer chooses the phone to ask when the user names none: the one that issued
// before; else the only one with a CA, or the only one there is.
func (m *Manager) Issuer() (device.Peer, error) {
	peers := m.Phones()
	if len(peers) == 0 {
		return device.Peer{}, control.Errorf(control.CodeNotPaired, "run `vmux pair`", "No phone is paired with this computer.")
	}
	m.mu.Lock()
	last := m.lastPhoneLocked()
	m.mu.Unlock()
	for _, wish := range []func(link.PeerStatus) bool{
		func(p link.PeerStatus) bool { return p.ID == last },
		func(p link.PeerStatus) bool {
			accepted, _ := m.CAs.Of(p.ID)
			return len(accepted) > 0 || len(p.Hello.CAPublicKey) > 0
		},
		func(p link.PeerStatus) bool { return p.Connected },
	} {
		// Where none is as wished, all stay.
		if slices.ContainsFunc(peers, wish) {
			peers = slices.DeleteFunc(slices.Clone(peers), func(p link.PeerStatus) bool { return !wish(p) })
		}
	}
	if len(peers) != 1 {
		return device.Peer{}, control.Errorf(control.CodeInvalid, "name the phone: `vmux cert request --phone NAME`", "Several phones could issue the certificate.")
	}
	return device.Peer{ID: peers[0].ID, Name: peers[0].Name}, nil
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }
