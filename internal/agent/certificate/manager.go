// Package certificate keeps an agent's session certificate: it asks a phone for
// one, verifies what comes and by whose CA it is, renews it, and ends it when it
// expires, is removed or is revoked. It does not know how phones are reached, nor
// who wants a signature.
package certificate

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

const (
	// DefaultValidity is what is asked for when nobody says otherwise.
	DefaultValidity = 8 * time.Hour
	// lookAgain bounds the time between two looks at the wall clock, since
	// timers stop while a laptop sleeps.
	lookAgain = 30 * time.Second
	// retryAfter is how long nothing is asked automatically after a failure
	// that is no decision, so that a phone in a pocket is not asked on and on.
	retryAfter = 10 * time.Minute
	// retryUnreachable is the same where no phone was reached, and the shortest time
	// between a denial without any certificate and the next automatic request, on a
	// link that comes and goes.
	retryUnreachable = time.Minute
	// graceOfOld is how long a certificate that has been replaced still signs: for
	// the login that saw it in the list just before.
	graceOfOld = 2 * time.Minute
)

// hold says why nothing is asked automatically.
type hold int

const (
	heldNot     hold = iota
	heldDenied       // until the user asks, or it has expired and a phone connects anew
	heldRemoved      // by ssh-add -D: until the user asks, or a phone connects anew
)

// Config says how the session certificate is kept. All functions may be called
// concurrently, and never while the manager is locked.
type Config struct {
	// Ask puts a request, of which it makes the head, to a phone and returns the
	// answer. That the phone refuses is an error.
	Ask func(ctx context.Context, phone device.ID, r wire.CertificateRequest) (wire.CertificateResponse, error)
	// Phones are the paired phones.
	Phones func() []link.PeerStatus
	// Go runs f beside its caller; false: the agent ends, or has not begun.
	Go func(f func(ctx context.Context)) bool
	// Changed is called after each change of what signs, before whoever changed it
	// goes on.
	Changed func()
	CAs     *CAs
	Journal *journal.Journal
	Log     *slog.Logger
}

// Manager keeps the session certificate.
type Manager struct {
	Config
	look chan struct{} // tells Run that something has changed

	mu       sync.Mutex
	session  *Session
	old      *Session // replaced, for logins under way
	oldUntil time.Time
	expired  *Session // what there was, without its key
	inFlight *request // nil: none
	held     hold
	heldAt   time.Time
	retryAt  time.Time     // nothing automatic before
	changed  chan struct{} // closed when session is another
}

// New returns a manager that has no certificate.
func New(c Config) *Manager {
	return &Manager{Config: c, look: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Current returns the session certificate, nil if there is none. It may have
// expired: see Session.Valid.
func (m *Manager) Current() *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session
}

// Find returns the session whose certificate that is, nil if there is none that
// is valid.
func (m *Manager) Find(blob []byte, now time.Time) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.session.Valid(now) && bytes.Equal(blob, m.session.Blob):
		return m.session
	case m.old.Valid(now) && now.Round(0).Before(m.oldUntil) && bytes.Equal(blob, m.old.Blob):
		return m.old
	}
	return nil
}

// Show returns how it stands with the certificate; nameOf is a phone's name.
func (m *Manager) Show(nameOf func(device.ID) string) control.Certificate {
	m.mu.Lock()
	s, state := m.session, control.CertificateExpired
	switch {
	case s.Valid(time.Now()):
		state = control.CertificateValid
	case s == nil:
		s = m.expired
	}
	renewing, held := m.inFlight != nil, m.held != heldNot
	m.mu.Unlock()
	shown := control.Certificate{}
	if s == nil {
		state = control.CertificateNone
	} else {
		shown = s.describe(nameOf(s.Phone))
	}
	shown.State, shown.Renewing, shown.AutomaticHeld = state, renewing, held
	return shown
}

// Run expires and renews until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(m.lookAt(time.Now()))
		select {
		case <-timer.C:
		case <-m.look:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// RenewIfDue has Run look whether a certificate is to be asked for.
func (m *Manager) RenewIfDue() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// lookAt does what is due now and returns when to look again.
func (m *Manager) lookAt(now time.Time) time.Duration {
	m.expire(now)
	if phone, due := m.automaticDue(now); due {
		if _, err := m.join(Wanted{Phone: phone, Validity: DefaultValidity, automatic: true}); err != nil {
			m.Log.Debug("automatic certificate request", "error", err)
		}
	}
	next := lookAgain
	if s := m.Current(); s != nil {
		for _, at := range []time.Time{s.renewAt(), s.validBefore()} {
			// A moment later, since at the very time it is not due yet.
			if left := at.Sub(now.Round(0)); left >= 0 {
				next = min(next, left+time.Millisecond)
			}
		}
	}
	return next
}

// change changes what signs, and says so.
func (m *Manager) change(edit func()) {
	m.mu.Lock()
	before, beforeOld := m.session, m.old
	edit()
	changed := m.session != before || m.old != beforeOld
	if changed {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	m.mu.Unlock()
	if changed {
		m.Changed()
	}
}

// expire forgets keys whose certificates are over.
func (m *Manager) expire(now time.Time) {
	expired := false
	m.change(func() {
		if m.old != nil && (!m.old.Valid(now) || now.Round(0).After(m.oldUntil)) {
			m.old = nil
		}
		if m.session != nil && uint64(now.Unix()) >= m.session.Certificate.ValidBefore {
			m.session, m.expired, expired = nil, m.session.withoutKey(), true
		}
	})
	if expired {
		m.Journal.Note(journal.KindCertificate, "Session certificate expired", "")
		m.Log.Info("session certificate expired")
	}
}

// automaticDue returns the phone to ask for a certificate that nobody has
// pressed a button for, if that is due and allowed.
func (m *Manager) automaticDue(now time.Time) (device.Peer, bool) {
	m.mu.Lock()
	due := m.held == heldNot && m.inFlight == nil && !now.Round(0).Before(m.retryAt) &&
		(m.session == nil || now.Round(0).After(m.session.renewAt()))
	last := m.lastPhoneLocked()
	m.mu.Unlock()
	if !due {
		return device.Peer{}, false
	}
	var found device.Peer
	for _, p := range m.Phones() {
		phone := device.Peer{ID: p.ID, Name: p.Name}
		if !p.Connected || !p.Hello.AutomaticIssuance || m.CAs.unconfirmed(phone) != nil {
			continue
		}
		if found.ID.IsZero() || p.ID == last {
			found = phone
		}
	}
	return found, !found.ID.IsZero()
}

// lastPhoneLocked is the phone that issued the certificate of now or before.
func (m *Manager) lastPhoneLocked() device.ID {
	switch {
	case m.session != nil:
		return m.session.Phone
	case m.expired != nil:
		return m.expired.Phone
	}
	return device.ID{}
}

// PhoneConnected ends a hold when there is no valid certificate.
func (m *Manager) PhoneConnected(now time.Time) {
	m.mu.Lock()
	expiredSince := m.expired != nil && !m.expired.validBefore().Before(m.heldAt)
	if !m.session.Valid(now) && (m.held == heldRemoved || expiredSince || now.Round(0).Sub(m.heldAt) >= retryUnreachable) {
		m.held = heldNot
	}
	m.mu.Unlock()
	m.RenewIfDue()
}

// holdAfterLocked says when it may be asked automatically again.
func (m *Manager) holdAfterLocked(err error, now time.Time) {
	now = now.Round(0)
	switch {
	case wire.IsDecision(err):
		m.held, m.heldAt = heldDenied, now
	case wire.CodeOf(err) == wire.CodePhoneNotReachable:
		m.retryAt = now.Add(retryUnreachable)
	case isCanceled(err):
	default:
		m.retryAt = now.Add(retryAfter)
	}
}
