package agent

import (
	"bytes"
	"context"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// defaultValidity is what the agent asks for.
	defaultValidity = 8 * time.Hour
	// lookAgain bounds the time between two looks at the wall clock, since
	// timers stop while a laptop sleeps.
	lookAgain = 30 * time.Second
	// retryAfter is how long nothing is asked automatically after a failure
	// that is no decision, so that a phone in a pocket is not nagged.
	retryAfter = 10 * time.Minute
	// calm is the shortest time between a denial without any certificate and
	// the next automatic request, on a link that comes and goes.
	calm = time.Minute
)

// hold says why nothing is asked automatically.
type hold int

const (
	heldNot     hold = iota
	heldDenied       // until the user asks, or it has expired and a phone connects anew
	heldRemoved      // by ssh-add -D: until the user asks, or a phone connects anew
)

// certificates is the life of the session certificate. Guarded by Agent.mu.
type certificates struct {
	session  *session
	old      *session // replaced, for logins under way
	oldUntil time.Time
	// expired is what there was, without its key.
	expired *session
	flight  *flight
	held    hold
	heldAt  time.Time
	retryAt time.Time // nothing automatic before
}

func (c *certificates) destroyLocked() {
	c.session, c.old, c.expired = nil, nil, nil
	if c.flight != nil {
		c.flight.cancel(errCertificateRemoved)
		c.flight = nil
	}
}

var (
	errCertificateRemoved = control.Errorf(control.CodeBusy, "run `vmux cert request` again", "The session certificate was removed meanwhile.")
	errCertificateRevoked = wire.Errorf(wire.CodeUserDenied, "The certificate was revoked on the phone.")
)

// flight is one request for a certificate, which many may wait for.
type flight struct {
	cancel    context.CancelCauseFunc
	done      chan struct{}
	wanted    wanted
	automatic bool
	waiters   int // guarded by Agent.mu
	err       error
}

// wanted is a request for a certificate.
type wanted struct {
	phone      device.Peer
	validity   time.Duration
	identity   []byte // blob; nil means the phone's default
	principals []string
	automatic  bool
}

// keepCertificate expires and renews until ctx ends.
func (a *Agent) keepCertificate(ctx context.Context) {
	for {
		timer := time.NewTimer(a.lookAtCertificate(time.Now()))
		select {
		case <-timer.C:
		case <-a.renewal:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// considerRenewal makes keepCertificate look.
func (a *Agent) considerRenewal() {
	select {
	case a.renewal <- struct{}{}:
	default:
	}
}

// lookAtCertificate does what is due now and returns when to look again.
func (a *Agent) lookAtCertificate(now time.Time) time.Duration {
	a.expire(now)
	if phone, due := a.automaticDue(now); due {
		if _, err := a.takeOff(wanted{phone: phone, validity: defaultValidity, automatic: true}); err != nil {
			a.log.Debug("automatic certificate request", "error", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next := lookAgain
	if s := a.cert.session; s != nil {
		for _, at := range []time.Time{s.renewAt(), s.validBefore()} {
			// A moment later, since at the very time it is not due yet.
			if left := at.Sub(now.Round(0)); left >= 0 {
				next = min(next, left+time.Millisecond)
			}
		}
	}
	return next
}

// expire forgets keys whose certificates are over.
func (a *Agent) expire(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &a.cert
	if c.old != nil && (!c.old.valid(now) || now.Round(0).After(c.oldUntil)) {
		c.old = nil
		a.rebuildLocked()
	}
	if c.session != nil && uint64(now.Unix()) >= c.session.cert.ValidBefore {
		c.expired = &session{cert: c.session.cert, blob: c.session.blob, phone: c.session.phone}
		c.session = nil
		a.rebuildLocked()
		a.journal.Note(journal.KindCertificate, "Session certificate expired", "")
		a.log.Info("session certificate expired")
	}
}

// automaticDue returns the phone to ask for a certificate that nobody has
// pressed a button for, if that is due and allowed.
func (a *Agent) automaticDue(now time.Time) (device.Peer, bool) {
	a.mu.Lock()
	c := &a.cert
	due := c.held == heldNot && c.flight == nil && !now.Round(0).Before(c.retryAt) &&
		(c.session == nil || now.Round(0).After(c.session.renewAt()))
	last := c.lastPhone()
	a.mu.Unlock()
	if !due {
		return device.Peer{}, false
	}
	var found device.Peer
	for _, p := range a.node.Peers() {
		if !p.Connected || !p.Hello.AutomaticIssuance || a.caUnconfirmed(p.ID) {
			continue
		}
		if found.ID.IsZero() || p.ID == last {
			found = device.Peer{ID: p.ID, Name: p.Name}
		}
	}
	return found, !found.ID.IsZero()
}

// lastPhone is the phone that issued the certificate of now or before.
func (c *certificates) lastPhone() device.ID {
	switch {
	case c.session != nil:
		return c.session.phone
	case c.expired != nil:
		return c.expired.phone
	}
	return device.ID{}
}

func (a *Agent) caUnconfirmed(phone device.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.cas.offered[phone]) > 0
}

// connectedAnew ends a hold when there is no valid certificate.
func (a *Agent) connectedAnew(now time.Time) {
	a.mu.Lock()
	c := &a.cert
	expiredSince := c.expired != nil && !c.expired.validBefore().Before(c.heldAt)
	if !c.session.valid(now) && (c.held == heldRemoved || expiredSince || now.Round(0).Sub(c.heldAt) >= calm) {
		c.held = heldNot
	}
	a.mu.Unlock()
	a.considerRenewal()
}

// same reports whether both get the same certificate.
func (w wanted) same(o wanted) bool {
	return w.phone.ID == o.phone.ID && w.validity == o.validity &&
		bytes.Equal(w.identity, o.identity) && slices.Equal(w.principals, o.principals)
}

// takeOff starts asking for a certificate, or joins who asks for the same. The
// caller that is not automatic must leave.
func (a *Agent) takeOff(w wanted) (*flight, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.cert.flight; f != nil {
		if !w.same(f.wanted) {
			return nil, control.Errorf(control.CodeBusy,
				"answer it on the phone, then run the command again", "Another certificate is being asked for.")
		}
		if !w.automatic {
			f.waiters++
		}
		return f, nil
	}
	f := &flight{done: make(chan struct{}), wanted: w, automatic: w.automatic, cancel: func(error) {}}
	if !a.tasks.run(func(ctx context.Context) { a.fly(ctx, f, w) }) {
		return nil, context.Canceled
	}
	if !w.automatic {
		f.waiters = 1
		a.cert.held, a.cert.retryAt = heldNot, time.Time{}
	}
	a.cert.flight = f
	return f, nil
}

// fly asks, and puts what comes in place.
func (a *Agent) fly(ctx context.Context, f *flight, w wanted) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.mu.Lock()
	f.cancel = cancel
	var err error
	switch {
	case a.cert.flight != f:
		err = errCertificateRemoved
	case !f.automatic && f.waiters == 0: // who wanted it has left already
		err = context.Canceled
	}
	a.mu.Unlock()
	var s *session
	if err == nil {
		s, err = a.fetchCertificate(ctx, w)
	}
	a.land(f, s, err)
	close(f.done)
	a.considerRenewal()
}

// land ends the flight and puts the new certificate in place of the old one.
func (a *Agent) land(f *flight, s *session, err error) {
	if err == nil && a.revoked(s) {
		err = errCertificateRevoked
	}
	a.mu.Lock()
	c := &a.cert
	switch {
	case c.flight != f: // removed meanwhile: what came is not used
		if err == nil {
			err = errCertificateRemoved
		}
	case err != nil:
		c.flight = nil
		c.holdAfter(err, time.Now())
	default:
		c.flight, c.expired = nil, nil
		c.old, c.oldUntil = c.session, time.Now().Round(0).Add(graceOfOld)
		c.session, c.held, c.retryAt = s, heldNot, time.Time{}
		if c.old != nil && !s.validBefore().After(c.old.validBefore()) {
			// The phone gives none that lasts longer (a key's hours end, say): to ask
			// ever more often for what is left would help nobody.
			c.retryAt = s.validBefore()
		}
		a.rebuildLocked()
	}
	f.err = err
	a.journal.Change()
	a.mu.Unlock()
	switch {
	case err == nil:
		a.log.Info("session certificate in place", "phone", s.phone.Short(), "serial", s.cert.Serial, "until", s.validBefore())
		a.journal.Succeed(journal.KindCertificate, "Certificate valid until "+s.validBefore().Local().Format(control.TimeLayout))
	case wire.CodeOf(err) != control.CodeBusy && !isCanceled(err):
		a.journal.Fail(journal.KindCertificate, "Session certificate", err)
	}
}

// holdAfter says when it may be asked automatically again.
func (c *certificates) holdAfter(err error, now time.Time) {
	now = now.Round(0)
	switch {
	case final(err):
		c.held, c.heldAt = heldDenied, now
	case wire.CodeOf(err) == wire.CodePhoneNotReachable:
		c.retryAt = now.Add(calm)
	case isCanceled(err):
	default:
		c.retryAt = now.Add(retryAfter)
	}
}

// fetchCertificate asks one phone and verifies what it sends.
func (a *Agent) fetchCertificate(ctx context.Context, w wanted) (*session, error) {
	key, public, err := newSessionKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	request := &wire.CertificateRequest{
		Asking: a.asking(now), PublicKeyBlob: public.Marshal(), RequestedValiditySeconds: int64(w.validity / time.Second),
		IdentityPublicKeyBlob: w.identity, Principals: w.principals, Automatic: w.automatic,
	}
	defer a.journal.Wait(control.Request{
		RequestID: request.RequestID, Kind: journal.KindCertificate, Since: now, Until: request.ExpiresAt(),
	})()
	a.log.Info("certificate asked for", "request", request.RequestID, "phone", w.phone.ID.Short(), "automatic", w.automatic)
	cert, phone, err := ask(ctx, a, question[*ssh.Certificate]{
		phones: []device.ID{w.phone.ID}, kind: wire.KindCertificateRequest, asking: request.Asking,
		body: func(asking wire.Asking) any {
			again := *request
			again.Asking = asking
			return &again
		},
		shown: func() { a.shown(request.RequestID) },
		accept: func(_ device.ID, e wire.Envelope, asked wire.Asking) (*ssh.Certificate, error) {
			return a.acceptCertificate(e, asked, public, w)
		},
	})
	if err != nil {
		return nil, err
	}
	came := time.Now()
	s := &session{key: key, cert: cert, blob: cert.Marshal(), phone: phone}
	s.life = s.validBefore().Sub(came.Round(0))
	return s, nil
}

func (a *Agent) acceptCertificate(e wire.Envelope, asked wire.Asking, own ssh.PublicKey, w wanted) (*ssh.Certificate, error) {
	var answer wire.CertificateResponse
	if err := wire.DecodeBody(e, &answer); err != nil {
		return nil, err
	}
	if answer.RequestID != asked.RequestID {
		return nil, wire.Errorf(wire.CodeMalformedRequest, "The phone answered another request.")
	}
	if answer.Error != nil {
		return nil, a.refusal(answer.Error, asked)
	}
	cert, err := checkCertificate(&answer, own, w.validity, time.Now())
	if err != nil {
		a.log.Error("certificate refused", "request", asked.RequestID, "error", err)
		return nil, wire.Errorf(wire.CodeInternalError, "The phone's certificate was refused: %s.", err)
	}
	if err := a.meetCA(w.phone.ID, w.phone.Name, answer.CAPublicKey); err != nil {
		return nil, err
	}
	return cert, nil
}
