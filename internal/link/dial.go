package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/race"
	"vmux/internal/wire"
)

// keepDialing sees to it that somebody dials the device, while Run runs.
func (n *Node) keepDialing(id device.ID) {
	if len(n.routes) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerLocked(id)
	if !n.running || p.stop != nil || !n.beginLocked() {
		return
	}
	ctx, stop := context.WithCancel(n.ctx)
	p.stop = stop
	go func() {
		defer n.wg.Done()
		n.dialLoop(ctx, p)
	}()
}

// dialNow is for a device that was paired with just now. If it has a link, that stays.
func (n *Node) dialNow(id device.ID) {
	n.keepDialing(id)
	n.wakePeer(id)
}

// dialLoop dials whenever there is no link, with growing pauses that Wake cuts
// short. A link that did not last counts as a failure, so that two devices
// that keep replacing each other's links slow down.
func (n *Node) dialLoop(ctx context.Context, p *peer) {
	backoff := Backoff{Min: BackoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		s, err := n.connect(ctx, p)
		if s != nil {
			began := time.Now()
			if !n.improve(ctx, p, s) {
				return
			}
			if time.Since(began) >= steady {
				backoff.Reset()
			}
		}
		if _, invalid := asPairing(err); invalid {
			backoff.Longest()
		}
		backoff.Rest(ctx, p.wake)
	}
}

// improve waits for the end of the link, and meanwhile looks for one by a better
// route than the link's: when something tells that the device may be reached,
// and ever more seldom by itself. The new link replaces the old one, and what
// waits for an answer goes on over it. It returns false when ctx has ended.
func (n *Node) improve(ctx context.Context, p *peer, s *session) bool {
	if s.rank == 0 {
		select {
		case <-ctx.Done():
		case <-s.ended.Done():
		}
		return ctx.Err() == nil
	}
	for pause := BetterMin; sleep(ctx, BetterMin, s.ended.Done()); pause = min(2*pause, Better) {
		woken := false
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-s.ended.Done():
		case <-p.wake:
			woken = true
		case <-again.C:
		}
		again.Stop()
		if s.ended.Err() != nil || ctx.Err() != nil {
			if woken {
				p.poke() // it was for the next link, perhaps
			}
			break
		}
		if _, err := n.dial(ctx, p.id, n.routes[:s.rank], s); err != nil && ctx.Err() == nil {
			n.log.Debug("no better route", "peer", p.id.Short(), "error", err)
		}
	}
	return ctx.Err() == nil
}

// connect returns the link to the device: the one there is, or a new one.
func (n *Node) connect(ctx context.Context, p *peer) (*session, error) {
	n.mu.Lock()
	if s := p.session; s != nil {
		n.mu.Unlock()
		return s, nil
	}
	if n.pairings[p.id] > 0 {
		n.mu.Unlock()
		return nil, errPairing
	}
	p.connecting = true
	n.mu.Unlock()
	pairing, _ := n.trust.Get(p.id) // dial reads it again, and fails if it must
	s, err := n.dial(ctx, p.id, n.routes, nil)
	n.mu.Lock()
	p.connecting = false
	if err != nil && ctx.Err() == nil {
		p.lastErr = err
	}
	n.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	n.log.Debug("dialling failed", "peer", p.id.Short(), "error", err)
	if e, invalid := asPairing(err); invalid {
		n.endPairing(p, pairing, e)
	}
	return s, err
}

// errPairing holds dialling back: see pairNew.
var errPairing = errors.New("the device is being paired with")

// endPairing is for when a device has said that it does not know this one. It may
// have been asked before the two were paired anew: then it means the pairing that
// was, and nothing ends.
func (n *Node) endPairing(p *peer, pairing device.Peer, e *wire.Error) {
	t, err := n.trust.Get(p.id)
	n.mu.Lock()
	if n.pairings[p.id] > 0 || err == nil && !t.PairedAt.Equal(pairing.PairedAt) {
		n.mu.Unlock()
		return
	}
	p.failAsksLocked(e)
	told := p.unpaired
	p.unpaired = true
	n.mu.Unlock()
	if told {
		return
	}
	n.log.Warn("the other device says that it is not paired with this one", "peer", p.id.Short())
	if err == nil && n.handler != nil {
		n.handler.Unpaired(t)
	}
	if _, err := n.trust.Get(p.id); errors.Is(err, device.ErrNotPaired) { // forgotten: nothing is left to dial
		n.Disconnect(p.id, ErrUnpairedHere)
	}
}

// dial makes a link by the first of the routes that leads to the device. It
// gives up when the link that it would replace, if any, ends before one has.
func (n *Node) dial(ctx context.Context, id device.ID, routes []Route, old *session) (*session, error) {
	t, err := n.trust.Get(id)
	if err != nil {
		return nil, err
	}
	until, stop := context.WithCancel(ctx)
	defer stop()
	if old != nil {
		defer context.AfterFunc(old.ended, stop)()
	}
	won, err := n.dialAny(until, routes, func(ctx context.Context, r Route) (*tls.Conn, string, error) {
		return r.Dial(ctx, t, n.secureTo(id))
	})
	if err != nil {
		return nil, err
	}
	s, err := n.exchangeHellos(ctx, newConn(won.Conn), t, won.route, won.rank)
	if err != nil {
		return nil, err
	}
	if err := n.trust.Reached(id, s.lastHello().DeviceName, won.route); err != nil {
		n.log.Warn("noting the route", "peer", id.Short(), "error", err)
	}
	return s, nil
}

// raced is the connection that was there first.
type raced struct {
	*tls.Conn
	route string
	rank  int // the route's place among those tried
}

// dialAny tries all routes at once; the first connection that the peer's own
// device ends wins.
func (n *Node) dialAny(ctx context.Context, routes []Route, dial func(context.Context, Route) (*tls.Conn, string, error)) (raced, error) {
	if len(routes) == 0 {
		return raced{}, ErrNoRoute
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime+handshakeTime)
	defer cancel()
	won, rank, errs := race.First(ctx, len(routes), 0, func(ctx context.Context, rank int) (raced, error) {
		c, route, err := dial(ctx, routes[rank])
		if err != nil {
			err = fmt.Errorf("%s: %w", routes[rank].Name(), err)
		}
		return raced{c, route, rank}, err
	})
	if rank < 0 {
		return won, errors.Join(errs...)
	}
	return won, nil
}
