package link

import (
	"context"
	"errors"
	"io"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// session is one link that is up: a connection to a paired device. Its
// goroutines end when the connection is closed.
type session struct {
	*conn
	node  *Node
	owner *peer
	peer  device.Peer
	hello wire.Hello // the last one; guarded by node.mu, as unpaired
	// unpaired: what the device asks for from now on is not served.
	unpaired bool
	route    string
	rank     int             // the place of its route among the node's
	serial   uint64          // later sessions have higher ones
	before   *session        // the one that this replaced; nil once that has ended
	probe    chan struct{}   // of capacity 1: ask for a sign of life now
	again    chan struct{}   // of capacity 1: hello has changed
	ended    context.Context // until Handler.LinkDown has returned
	end      context.CancelFunc

	// Guarded by node.mu: the last ping and when it was sent, "" once it is answered; how
	// long the last answer took; and what is closed at the next.
	asked     string
	askedAt   time.Time
	roundTrip time.Duration
	measured  chan struct{}
}

// adopt makes a connection whose peer has said hello that peer's link, in place
// of an older one, and sends again what waits for an answer.
func (n *Node) adopt(c *conn, t device.Peer, hello wire.Hello, route string, rank int) (*session, error) {
	_ = c.SetReadDeadline(time.Time{})
	s := &session{
		conn: c, node: n, peer: t, hello: hello, route: route, rank: rank,
		probe: make(chan struct{}, 1), again: make(chan struct{}, 1), measured: make(chan struct{}),
	}
	s.ended, s.end = context.WithCancel(context.Background())
	if hello.DeviceName != "" {
		s.peer.Name = wire.Clean(hello.DeviceName)
	}
	n.mu.Lock()
	if n.handler == nil || !n.beginLocked() {
		n.mu.Unlock()
		c.close(ErrNodeClosed)
		c.wait()
		return nil, ErrNodeClosed
	}
	p := n.peerLocked(t.ID)
	n.serial++
	s.owner, s.serial, s.before = p, n.serial, p.session
	p.session, p.unpaired = s, false
	p.hello, p.clock, p.since = hello, clockOf(hello), time.Now()
	p.sendAgainLocked(s)
	outdated := c.said != n.hellos
	n.mu.Unlock()
	if outdated {
		_ = n.sayHello(c) // a link that fails here has an end to tell of
	}
	if s.before != nil {
		s.before.close(ErrReplaced)
	}
	// A device that was unpaired while it said hello had no link yet to be ended. This
	// comes before anything is read, or else a request would be served.
	now, err := n.trust.Get(t.ID)
	switch {
	case errors.Is(err, device.ErrNotPaired):
		n.Disconnect(t.ID, ErrUnpairedHere)
	case err == nil && !now.PairedAt.Equal(t.PairedAt): // and paired anew
		s.closeAfter(ErrUnpairedHere, ErrUnpairedHere)
	}
	go s.run()
	return s, nil
}

func (s *session) run() {
	defer s.node.wg.Done()
	defer s.end()
	if s.before != nil {
		<-s.before.ended.Done()
		s.before = nil
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.close(s.readAll())
	}()
	s.node.log.Info("link up", "peer", s.peer.ID.Short(), "route", s.route)
	s.node.handler.LinkUp(s.peer, s.lastHello(), s.route)
	s.keepAlive(read)
	<-read
	s.wait()
	s.down()
}

// down reports the link's end.
func (s *session) down() {
	reason := s.reason()
	n, p := s.node, s.owner
	n.mu.Lock()
	if p.session == s {
		p.session, p.since, p.lastErr = nil, time.Now(), reason
	}
	n.mu.Unlock()
	n.log.Info("link down", "peer", s.peer.ID.Short(), "route", s.route, "reason", reason)
	n.handler.LinkDown(s.peer, reason)
	if e, invalid := asPairing(reason); invalid && !s.isLeaving() { // else it was this side that said so
		n.endPairing(p, s.peer, e)
	}
}

// keepAlive pings when the link is quiet and closes it when it stays so. After the
// machine has slept it asks for a sign of life at once.
func (s *session) keepAlive(read <-chan struct{}) {
	t := time.NewTimer(pingAfter)
	defer t.Stop()
	var probed time.Time // when a sign of life was asked for; zero if not
	var heard int64
	for last := time.Now(); ; {
		if now := time.Now(); Slept(last, now) {
			s.probeNow()
		}
		last = time.Now()
		select {
		case <-read:
			return
		case <-s.again:
			_ = s.node.noteName(s.peer, s.lastHello())
			if l, ok := s.node.handler.(HelloListener); ok {
				l.HelloChanged(s.peer, s.lastHello())
			}
		case <-s.probe:
			if probed.IsZero() {
				probed, heard = time.Now(), s.heard.Load()
				s.ping()
			}
		case <-t.C:
		}
		quiet := s.quiet()
		if !probed.IsZero() && s.heard.Load() != heard {
			probed = time.Time{}
		}
		left := deadAfter - quiet
		if !probed.IsZero() {
			left = min(left, probeTimeout-time.Since(probed))
		}
		if left <= 0 {
			s.close(ErrDead)
			return
		}
		if quiet >= pingAfter {
			s.ping()
			quiet = 0
		}
		t.Reset(min(left, max(pingAfter-quiet, pingAfter/4)))
	}
}

// helloAgain takes what the peer says of itself now in place of what it said at
// link-up. Its name is taken at link-up alone: that is written to the disk.
func (s *session) helloAgain(e wire.Envelope) error {
	var hello wire.Hello
	if err := wire.DecodeBody(e, &hello); err != nil {
		return s.send(e.ID, wire.KindError, wire.AsError(err))
	}
	n, p := s.node, s.owner
	n.mu.Lock()
	s.hello = hello
	if p.session == s {
		p.hello, p.clock = hello, clockOf(hello)
	}
	n.mu.Unlock()
	select {
	case s.again <- struct{}{}:
	default: // it is about to be told, and will be told this
	}
	return nil
}

func (s *session) lastHello() wire.Hello {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.hello
}

// clockOf is how far the clock of who says hello is ahead.
func clockOf(hello wire.Hello) time.Duration {
	return time.Until(hello.Clock()).Round(time.Millisecond)
}

// ping asks for a sign of life, and notes when.
func (s *session) ping() {
	id := wire.NewID()
	s.node.mu.Lock()
	s.asked, s.askedAt = id, time.Now()
	s.node.mu.Unlock()
	_ = s.send(id, wire.KindPing, nil)
}

// answered takes the answer to a ping. That to one before the last says nothing.
func (s *session) answered(id string) {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if id == s.asked {
		s.asked, s.roundTrip = "", time.Since(s.askedAt)
		close(s.measured)
		s.measured = make(chan struct{})
	}
}

// RoundTrip asks a linked device for a sign of life and waits for it. How long that
// took is the device's PeerStatus.RoundTrip then.
func (n *Node) RoundTrip(ctx context.Context, id device.ID) error {
	n.mu.Lock()
	p := n.peers[id]
	if p == nil || p.session == nil {
		n.mu.Unlock()
		return wire.NewError(wire.CodePhoneNotReachable)
	}
	s, measured := p.session, p.session.measured
	n.mu.Unlock()
	s.ping()
	select {
	case <-measured:
		return nil
	case <-s.ended.Done():
		return wire.NewError(wire.CodePhoneNotReachable)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) probeNow() {
	select {
	case s.probe <- struct{}{}:
	default:
	}
}

// readAll reads until the link's end and returns its reason.
func (s *session) readAll() error {
	for {
		e, err := s.read(wire.MaxEnvelopeSize)
		if errors.Is(err, ErrMalformed) && !s.isLeaving() {
			s.closeAfter(wire.Errorf(wire.CodeMalformedRequest, "malformed envelope"), err)
			_, _ = io.CopyN(io.Discard, s.r, wire.MaxEnvelopeSize)
		}
		if err != nil {
			return readReason(err)
		}
		if s.isLeaving() {
			continue
		}
		if err := s.take(e); err != nil {
			return err
		}
	}
}

// take deals with one envelope. Its error ends the link.
func (s *session) take(e wire.Envelope) error {
	n, p := s.node, s.owner
	if e.Version != wire.Version || !e.Kind.Known() {
		return s.send(e.ID, wire.KindError, wire.NewError(wire.CodeVersionUnsupported))
	}
	switch e.Kind {
	case wire.KindPing:
		return s.send(e.ID, wire.KindPong, nil)
	case wire.KindPong:
		s.answered(e.ID)
	case wire.KindError:
		if e.ID == linkID {
			return asError(e)
		}
		n.answer(p, e)
	case wire.KindKeyListResponse, wire.KindSignResponse, wire.KindCertificateResponse:
		n.answer(p, e)
	case wire.KindReceived:
		n.received(p, e)
	case wire.KindCancel:
		n.cancelled(p, e)
	case wire.KindKeyListRequest, wire.KindSignRequest, wire.KindCertificateRequest, wire.KindDeviceTokenUpdate:
		return n.request(s, e)
	case wire.KindHello:
		return s.helloAgain(e)
	case wire.KindPairRequest, wire.KindPairResponse:
		return s.send(e.ID, wire.KindError, wire.Errorf(wire.CodeMalformedRequest, "%s out of place", e.Kind))
	}
	return nil
}
