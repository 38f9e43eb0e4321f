package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/hubwire"
)

// Name implements link.Route.
func (*Client) Name() string { return "hub" }

// Dial implements link.Route: it opens a stream to the peer, if that is at the
// hub and allows this device. Without a connection to the hub it waits a little
// for one.
func (c *Client) Dial(ctx context.Context, peer device.Peer, secure link.Secure) (*tls.Conn, string, error) {
	return c.dial(ctx, dialWait, peer.ID, nil, secure)
}

// DialInvited implements link.Inviter: it opens a stream to the device that
// invites at this hub, with the invitation's rendezvous token. It waits for a
// connection to the hub, a little longer than one attempt takes. An invitation that names another hub or
// none gives link.ErrNoRoute.
func (c *Client) DialInvited(ctx context.Context, inv device.Invitation, secure link.Secure) (*tls.Conn, string, error) {
	if !slices.ContainsFunc(inv.Routes, c.isHere) {
		return nil, "", link.ErrNoRoute
	}
	token := inv.RendezvousToken()
	// The first attempt tells why there is none: who pairs is waiting.
	tc, route, err := c.dial(ctx, connectTime+dialWait, inv.DeviceID, token[:], secure)
	if refused, ok := errors.AsType[*Refused](err); ok && refused.Reason == hubwire.ReasonWrongToken {
		err = errors.Join(device.ErrInvitationEnded, err)
	}
	return tc, route, err
}

// isHere reports whether a route leads to this hub.
func (c *Client) isHere(route string) bool {
	u, ok := URL(route)
	return ok && u == c.origin
}

// dial waits for a connection to the hub for no longer than patience.
func (c *Client) dial(ctx context.Context, patience time.Duration, to device.ID, token []byte, secure link.Secure) (*tls.Conn, string, error) {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.connected(wait)
	if err != nil {
		return nil, "", err
	}
	t, err := s.openStream(to, token)
	if err != nil {
		return nil, "", err
	}
	tc, err := secure(ctx, t)
	if err != nil {
		_ = t.Close()
		// The handshake ends early when the hub refuses the stream: why it did
		// says more than that.
		if why, ok := errors.AsType[*Refused](t.ended()); ok {
			err = why
		}
		return nil, "", err
	}
	return tc, Route(c.origin), nil
}

// finder is one Find.
type finder struct{ found func(device.ID) }

// Find implements link.Finder: it tells of allowed devices that are at the hub,
// each time they come, until ctx ends.
func (c *Client) Find(ctx context.Context, found func(device.ID)) {
	f := &finder{found}
	c.mu.Lock()
	c.finders[f] = true
	here := slices.Collect(maps.Keys(c.online))
	c.mu.Unlock()
	for _, id := range here {
		found(id)
	}
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.finders, f)
}

// Listener takes the streams that other devices open to this one. Until there is
// a first one they wait, a few of them, and after the last they are refused. It
// outlives connections to the hub, and ends with its Close.
func (c *Client) Listener() net.Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners++
	c.listened = true
	return &listener{client: c, done: make(chan struct{})}
}

type listener struct {
	client *Client
	once   sync.Once
	done   chan struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case t := <-l.client.taken:
		return t, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Streams that nobody accepted are closed.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = nil
		close(l.done)
		l.client.stopListening()
	})
	return err
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address{l.client, l.client.key.ID()} }

func (c *Client) stopListening() {
	var left []*stream
	c.mu.Lock()
	c.listeners--
	for c.listeners == 0 && len(c.taken) > 0 {
		select { // a last Accept may be quicker
		case t := <-c.taken:
			left = append(left, t)
		default:
		}
	}
	c.mu.Unlock()
	for _, t := range left {
		_ = t.Close()
	}
}

// offer gives a stream to whoever accepts, and reports whether it could.
func (c *Client) offer(t *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners == 0 && c.listened {
		return false
	}
	select {
	case c.taken <- t:
		return true
	default:
		return false
	}
}

// rendezvous is a token that lets the stream of a device pass that is not paired. Guarded by Client.mu.
type rendezvous struct {
	token    [hubwire.TokenSize]byte
	until    time.Time
	renewals int
}

// Rendezvous lets one stream of an unpaired device that knows the token pass the hub to
// this device, for life at most or until end is called; a client has one at a
// time. Should its stream end, the network of a phone being what it
// is, the token is good for another, a few times: it is the invitation's proofs
// that are counted. It waits for a connection until ctx ends, and is opened
// again after a reconnect. Errors: ErrNotConnected, *Error.
func (c *Client) Rendezvous(ctx context.Context, token [hubwire.TokenSize]byte, life time.Duration) (end func(), err error) {
	if token == [hubwire.TokenSize]byte{} {
		return nil, device.ErrNotInvitation
	}
	r := &rendezvous{token: token, until: time.Now().Add(life).Round(0)}
	c.mu.Lock()
	c.rendezvous = r
	c.mu.Unlock()
	end = func() { c.endRendezvous(r) }
	m, _ := c.rendezvousMessage()
	if err := c.request(ctx, m); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func (c *Client) endRendezvous(r *rendezvous) {
	c.mu.Lock()
	open := c.rendezvous == r
	if open {
		c.rendezvous = nil
	}
	s := c.session
	c.mu.Unlock()
	if open && s != nil {
		s.tell(hubwire.Message{Type: hubwire.TypeRendezvous})
	}
}

// openRendezvous tells the hub of the token, if there is one.
func (c *Client) openRendezvous(s *session) {
	if m, ok := c.rendezvousMessage(); ok {
		s.tell(m)
	}
}

func (c *Client) rendezvousMessage() (hubwire.Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rendezvous
	if r == nil {
		return hubwire.Message{}, false
	}
	left := time.Until(r.until)
	if left <= 0 {
		c.rendezvous = nil
		return hubwire.Message{}, false
	}
	seconds := int((left + time.Second - 1) / time.Second)
	return hubwire.Message{Type: hubwire.TypeRendezvous, Token: slices.Clone(r.token[:]), Seconds: seconds}, true
}

// reopenRendezvous opens the rendezvous again when a stream ends of one who is not
// allowed: it may have used the token up.
func (c *Client) reopenRendezvous(t *stream) {
	if !t.inbound {
		return
	}
	c.mu.Lock()
	r, s := c.rendezvous, c.session
	again := r != nil && s == t.session && r.renewals < maxRenewals && !slices.Contains(c.allowed, t.id.peer)
	if again {
		r.renewals++
	}
	c.mu.Unlock()
	if again {
		c.openRendezvous(s)
	}
}
