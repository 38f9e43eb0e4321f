package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"vmux/internal/device"
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

// dialLoop dials whenever there is no link, with growing pauses that Wake cuts
// short. A link that did not last counts as a failure, so that two devices
// that keep replacing each other's links slow down.
func (n *Node) dialLoop(ctx context.Context, p *peer) {
	pause := n.timing.BackoffMin
	for ctx.Err() == nil {
		s, err := n.connect(ctx, p)
		if s != nil {
			began := time.Now()
			select {
			case <-s.ended:
			case <-ctx.Done():
				return
			}
			if time.Since(began) >= n.timing.Steady {
				pause = n.timing.BackoffMin
			}
		}
		if _, invalid := asPairing(err); invalid {
			pause = n.timing.BackoffMax
		}
		n.rest(ctx, p, pause)
		pause = min(2*pause, n.timing.BackoffMax)
	}
}

// rest waits for about the pause: a random half of it keeps devices that lost
// the same network from coming back in step. However often it is woken, it
// lasts BackoffMin.
func (n *Node) rest(ctx context.Context, p *peer, pause time.Duration) {
	least := min(pause, n.timing.BackoffMin)
	pause = max(least, pause/2+rand.N(pause/2+1))
	if !sleep(ctx, least, nil) {
		return
	}
	sleep(ctx, pause-least, p.wake)
}

func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}

// connect returns the link to the device: the one there is, or a new one.
func (n *Node) connect(ctx context.Context, p *peer) (*session, error) {
	n.mu.Lock()
	if s := p.session; s != nil {
		n.mu.Unlock()
		return s, nil
	}
	p.connecting = true
	n.mu.Unlock()
	s, err := n.dial(ctx, p.id)
	var told bool
	n.mu.Lock()
	p.connecting = false
	if err != nil && ctx.Err() == nil {
		p.lastErr = err
		if e, invalid := asPairing(err); invalid {
			p.failAsksLocked(e)
			told, p.unpaired = p.unpaired, true
		}
	}
	n.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	n.log.Debug("dialling failed", "peer", p.id.Short(), "error", err)
	if _, invalid := asPairing(err); invalid && !told {
		n.tellUnpaired(p.id)
	}
	return s, err
}

func (n *Node) tellUnpaired(id device.ID) {
	n.log.Warn("the other device says that it is not paired with this one", "peer", id.Short())
	if t, err := n.trust.Get(id); err == nil && n.handler != nil {
		n.handler.Unpaired(t)
	}
}

func (n *Node) dial(ctx context.Context, id device.ID) (*session, error) {
	t, err := n.trust.Get(id)
	if err != nil {
		return nil, err
	}
	c, route, err := n.dialAny(ctx, t)
	if err != nil {
		return nil, err
	}
	s, err := n.greet(ctx, newConn(c, n.timing.Write), t, route)
	if err != nil {
		return nil, err
	}
	if err := n.trust.Reached(id, s.hello.DeviceName, route); err != nil {
		n.log.Warn("noting the route", "peer", id.Short(), "error", err)
	}
	return s, nil
}

// raced is what one route came to.
type raced struct {
	conn  *tls.Conn
	route string
	err   error
}

// dialAny tries all routes at once; the first connection that the peer's own
// device ends wins.
func (n *Node) dialAny(ctx context.Context, peer device.Peer) (*tls.Conn, string, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timing.Dial+n.timing.Handshake)
	defer cancel()
	results := make(chan raced)
	for _, r := range n.routes {
		go func() {
			c, route, err := r.Dial(ctx, peer, n.secureTo(peer.ID))
			if err != nil {
				err = fmt.Errorf("%s: %w", r.Name(), err)
			}
			results <- raced{c, route, err}
		}()
	}
	var won raced
	var errs []error
	for range n.routes { // all of them, so that no goroutine stays
		switch got := <-results; {
		case got.err != nil:
			errs = append(errs, got.err)
		case won.conn != nil:
			_ = got.conn.Close()
		default:
			won = got
			cancel()
		}
	}
	if won.conn == nil {
		return nil, "", errors.Join(append(errs, noRoutes(n.routes))...)
	}
	return won.conn, won.route, nil
}

func noRoutes(routes []Route) error {
	if len(routes) == 0 {
		return ErrNoRoute
	}
	return nil
}
