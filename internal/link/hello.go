package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// exchangeHellos exchanges hellos with a paired device whose ID the handshake has
// proved, and makes the connection its link.
func (n *Node) exchangeHellos(ctx context.Context, c *conn, t device.Peer, route string, rank int) (*session, error) {
	hello, err := n.exchange(ctx, c)
	if err != nil {
		return nil, c.fail(err)
	}
	return n.adopt(c, t, hello, route, rank)
}

func (n *Node) exchange(ctx context.Context, c *conn) (wire.Hello, error) {
	defer c.closeAt(ctx)()
	if err := n.sayHello(c); err != nil {
		return wire.Hello{}, err
	}
	return c.readHello()
}

// sayHello tells who this is and what its role says now.
func (n *Node) sayHello(c *conn) error {
	n.mu.Lock()
	c.said = n.hellos
	n.mu.Unlock()
	return c.send(wire.NewID(), wire.KindHello, n.hello(false))
}

// closeAt closes the connection when ctx ends; the returned function stops that.
func (l *conn) closeAt(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { l.close(ErrNodeClosed) })
}

// fail closes the connection because of err, to its end, and returns why it is closed.
func (l *conn) fail(err error) error {
	if _, told := errors.AsType[*wire.Error](err); !told && l.reason() == nil {
		err = readReason(err)
	}
	l.close(err)
	l.wait()
	return l.reason()
}

// readAs reads the next envelope into record. An error that the peer sends
// instead is returned as it is.
func (l *conn) readAs(kind wire.Kind, record wire.Checker) error {
	e, err := l.read(maxHelloFrame)
	if err != nil {
		return err
	}
	if e.Kind == wire.KindError {
		return asError(e)
	}
	if e.Kind != kind {
		return fmt.Errorf("%w: want %s", ErrMalformed, kind)
	}
	if err := wire.DecodeBody(e, record); err != nil {
		return fmt.Errorf("%w: %s", ErrMalformed, err.Error())
	}
	return nil
}

func (l *conn) readHello() (wire.Hello, error) {
	var h wire.Hello
	err := l.readAs(wire.KindHello, &h)
	return h, err
}

// asError returns what an error envelope says.
func asError(e wire.Envelope) error {
	var told wire.Error
	if err := wire.DecodeBody(e, &told); err != nil {
		return wire.Errorf(wire.CodeMalformedRequest, "the other device sent a malformed error")
	}
	return &told
}

// authenticate is the accepting side after the handshake with whatever device: it
// ends with a link, or tells the other side why not.
func (n *Node) authenticate(ctx context.Context, tc *tls.Conn) error {
	c := newConn(tc)
	cs := tc.ConnectionState()
	id, err := peerID(&cs)
	if err != nil {
		c.close(err)
		return err
	}
	c.settled = func() {}
	defer func() { c.settled() }()
	t, hello, err := n.identify(ctx, c, &cs, id)
	if err != nil {
		return c.fail(err)
	}
	_, err = n.adopt(c, t, hello, routeOf(tc), n.rankOf(tc))
	return err
}

// rankOf returns how good the route of an accepted connection is: a direct one
// is as good as any, others count as the last.
func (n *Node) rankOf(c net.Conn) int {
	if _, direct := c.RemoteAddr().(*net.TCPAddr); direct {
		return 0
	}
	return max(0, len(n.routes)-1)
}

// identify tells who came, and pairs with who is new. The nameless hello is that
// of a phone which comes to pair; it may be one that is paired already and forgot
// about it. The end of ctx ends this, but no link that comes of it.
func (n *Node) identify(ctx context.Context, c *conn, cs *tls.ConnectionState, id device.ID) (device.Peer, wire.Hello, error) {
	defer c.closeAt(ctx)()
	var none wire.Hello
	t, err := n.trust.Get(id)
	paired := err == nil
	if err != nil && !errors.Is(err, device.ErrNotPaired) {
		n.log.Error("paired devices", "error", err)
		return t, none, c.refuse(wire.NewError(wire.CodeInternalError))
	}
	if !paired && n.openOffer() == nil {
		return t, none, c.refuse(errNotPaired)
	}
	if paired {
		if err := n.sayHello(c); err != nil {
			return t, none, err
		}
	}
	hello, err := c.readHello()
	switch {
	case err != nil:
		return t, none, err
	case hello.DeviceName == "":
		return n.pairNew(c, cs, id, paired)
	case !paired:
		return t, none, c.refuse(errNotPaired)
	}
	t.Name = n.noteName(t, hello)
	return t, hello, nil
}

// noteName keeps the name that a paired device calls itself by now, and returns it.
func (n *Node) noteName(t device.Peer, hello wire.Hello) wire.Text {
	name := wire.Clean(hello.DeviceName)
	if hello.DeviceName != "" && name != t.Name {
		if err := n.trust.Reached(t.ID, hello.DeviceName, ""); err != nil {
			n.log.Warn("noting the name", "peer", t.ID.Short(), "error", err)
		}
	}
	return name
}

// pairNew pairs with the device. Its hello, or its going, tells that it has stored
// the pairing. A link that is dialled before may reach a device that does not know of
// the pairing yet, and says so: nobody dials it until then, though Trust has it. Nor is
// it dialled before this connection has become the link, which another would replace.
func (n *Node) pairNew(c *conn, cs *tls.ConnectionState, id device.ID, paired bool) (device.Peer, wire.Hello, error) {
	done := n.beginPairing(id)
	c.settled = done
	t, err := n.redeem(c, cs, id, paired)
	if err != nil {
		return t, wire.Hello{}, err
	}
	hello, err := c.readHello()
	n.paired(t)
	c.settled = func() { done(); n.dialNow(id) }
	return t, hello, err
}

// beginPairing notes that a device is being paired with, until the returned function is
// called.
func (n *Node) beginPairing(id device.ID) (done func()) {
	count := func(by int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.pairings[id] += by; n.pairings[id] == 0 {
			delete(n.pairings, id)
		}
	}
	count(1)
	return sync.OnceFunc(func() { count(-1) })
}

var (
	errNotPaired  = wire.Errorf(wire.CodePairingInvalid, "not paired with this device")
	errWrongProof = wire.Errorf(wire.CodePairingInvalid, "wrong pairing secret")
	errOfferEnded = wire.Errorf(wire.CodeRequestExpired, "the invitation is used up or expired")
)

// redeem is the inviting side of pairing. known says that the device has had a
// hello already.
func (n *Node) redeem(c *conn, cs *tls.ConnectionState, id device.ID, known bool) (device.Peer, error) {
	offer := n.openOffer()
	if offer == nil {
		return device.Peer{}, c.refuse(errOfferEnded)
	}
	if !known {
		if err := c.send(wire.NewID(), wire.KindHello, n.hello(true)); err != nil {
			return device.Peer{}, err
		}
	}
	var req wire.PairRequest
	if err := c.readAs(wire.KindPairRequest, &req); err != nil {
		return device.Peer{}, err
	}
	proof, err := offer.Redeem(cs, req.Proof, time.Now())
	switch {
	case errors.Is(err, device.ErrWrongProof):
		n.log.Warn("wrong pairing proof", "peer", id.Short(), "from", routeOf(c))
		return device.Peer{}, c.refuse(errWrongProof)
	case errors.Is(err, device.ErrInvitationEnded):
		return device.Peer{}, c.refuse(errOfferEnded)
	case err != nil:
		return device.Peer{}, err
	}
	t := device.Peer{ID: id, Name: named(req.DeviceName, id), PairedAt: time.Now().UTC(), Routes: req.Routes}
	if err := n.trust.Add(t); err != nil {
		n.log.Error("pairing", "error", err)
		return t, c.refuse(wire.NewError(wire.CodeInternalError))
	}
	answer := wire.PairResponse{Proof: proof, DeviceName: n.ownName()}
	if err := c.send(wire.NewID(), wire.KindPairResponse, answer); err != nil {
		return t, err
	}
	if err := n.sayHello(c); err != nil {
		n.log.Debug("hello after pairing", "peer", id.Short(), "error", err) // reading will tell
	}
	return t, nil
}

func named(name string, id device.ID) wire.Text { return wire.Clean(cmp.Or(name, id.Short())) }

func (n *Node) paired(t device.Peer) {
	n.log.Info("paired", "peer", t.ID.Short(), "name", t.Name)
	if n.handler != nil {
		n.handler.Paired(t)
	}
}

// Pair redeems an invitation: it dials the inviting device by these ways, or else by
// Config.Routes, exchanges proofs, and adds the device to Trust. Routes are where this
// device can be reached, for the other to remember. Errors wrap
// device.ErrInvitationEnded (used up, expired, or never made) and
// device.ErrWrongProof; others say that the device could not be reached.
func (n *Node) Pair(ctx context.Context, inv device.Invitation, routes []string, ways ...Route) (device.Peer, error) {
	if !n.begin() {
		return device.Peer{}, ErrNodeClosed
	}
	defer n.wg.Done()
	if len(ways) == 0 {
		ways = n.routes
	}
	t := device.Peer{ID: inv.DeviceID, Name: wire.Clean(inv.Name), Routes: inv.Routes}
	secure := n.secureTo(inv.DeviceID)
	won, err := n.dialAny(ctx, ways, func(ctx context.Context, r Route) (*tls.Conn, string, error) {
		if r, ok := r.(Inviter); ok {
			return r.DialInvited(ctx, inv, secure)
		}
		return r.Dial(ctx, t, secure)
	})
	if err != nil {
		return device.Peer{}, fmt.Errorf("pair: %w", err)
	}
	c := newConn(won.Conn)
	t, err = n.prove(ctx, c, inv, routes)
	if err != nil {
		return device.Peer{}, fmt.Errorf("pair: %w", c.fail(err))
	}
	if n.handler == nil {
		c.close(ErrNodeClosed)
		c.wait()
		return t, nil
	}
	// Both have pinned the other: whatever happens to this connection now, the
	// inviting side may be closing it for a link of its own, they are paired.
	if _, err := n.exchangeHellos(ctx, c, t, won.route, won.rank); err != nil {
		n.log.Debug("no link after pairing", "peer", t.ID.Short(), "error", err)
	}
	n.dialNow(t.ID)
	return t, nil
}

// prove is the invited side of pairing.
func (n *Node) prove(ctx context.Context, c *conn, inv device.Invitation, routes []string) (t device.Peer, err error) {
	defer c.closeAt(ctx)()
	if err = c.send(wire.NewID(), wire.KindHello, n.hello(true)); err != nil {
		return t, err
	}
	if _, err = c.readHello(); err != nil {
		return t, because(err, device.ErrInvitationEnded)
	}
	cs := c.Conn.(*tls.Conn).ConnectionState()
	proof, err := inv.PhoneProof(&cs)
	if err != nil {
		return t, err
	}
	req := wire.PairRequest{Proof: proof, DeviceName: n.ownName(), Routes: routes}
	if err = c.send(wire.NewID(), wire.KindPairRequest, req); err != nil {
		return t, err
	}
	var resp wire.PairResponse
	if err = c.readAs(wire.KindPairResponse, &resp); err != nil {
		return t, because(err, device.ErrWrongProof)
	}
	if err = inv.CheckAgentProof(&cs, resp.Proof); err != nil {
		return t, err
	}
	t = device.Peer{ID: inv.DeviceID, Name: named(resp.DeviceName, inv.DeviceID), PairedAt: time.Now().UTC(), Routes: resp.Routes}
	if err = n.trust.Add(t); err != nil {
		return t, err
	}
	n.paired(t)
	return t, nil
}

// because adds to a peer's refusal what it means at this point of the pairing.
func because(err, meaning error) error {
	e, told := errors.AsType[*wire.Error](err)
	switch {
	case told && e.Code == wire.CodeRequestExpired:
		return fmt.Errorf("%w: %w", device.ErrInvitationEnded, err)
	case told && e.Code == wire.CodePairingInvalid:
		return fmt.Errorf("%w: %w", meaning, err)
	}
	return err
}
