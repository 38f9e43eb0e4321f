package link

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Node is one device's end of all its links. Its methods are safe for
// concurrent use.
type Node struct {
	// Fixed after New.
	key     *device.Key
	trust   *device.Trust
	role    func() wire.Hello
	routes  []Route
	handler Handler
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup // sessions, requests, dialling

	// mu guards what follows and everything in each peer. Nothing is waited
	// for while it is held: writing to a link only queues.
	mu      sync.Mutex
	closed  bool
	running bool // Run is
	name    string
	peers   map[device.ID]*peer
	offer   *device.Offer
	// pairings counts the pairings with a device that are under way.
	pairings map[device.ID]int
	serial   uint64 // of the last session
	asked    uint64 // of the last ask
	hellos   uint64 // how often HelloAgain was called
}

// peer is what a node keeps of one device across its links. Guarded by Node.mu.
type peer struct {
	id         device.ID
	session    *session // nil when not connected
	connecting bool
	unpaired   bool               // it said so, and no link came up since
	stop       context.CancelFunc // ends dialling; nil if there is none
	wake       chan struct{}      // of capacity 1: dial now

	asks      map[string]*ask
	withdrawn map[string]time.Time // cancels to send at the next link-up
	serving   map[string]*serving
	requests  int // in Handler.Serve

	hello   wire.Hello
	clock   time.Duration
	since   time.Time
	lastErr error
}

// New returns a node that does nothing yet: see Run, Serve, Pair, Close.
func New(c Config) *Node {
	n := &Node{
		key: c.Key, trust: c.Trust, role: c.Hello, routes: c.Routes,
		handler: c.Handler, log: c.Log,
		peers: map[device.ID]*peer{}, pairings: map[device.ID]int{},
	}
	n.Rename(c.Name)
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Run keeps a link to each paired device that some Route can dial. Whoever unpairs
// one calls Disconnect. When ctx ends it closes the node. It returns nil after all
// of the node's goroutines have ended.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	n.running = true
	n.mu.Unlock()
	for _, r := range n.routes {
		if f, ok := r.(Finder); ok && n.begin() {
			go func() {
				defer n.wg.Done()
				f.Find(n.ctx, n.wakePeer)
			}()
		}
	}
	peers, err := n.trust.Peers()
	if err != nil {
		n.log.Error("paired devices", "error", err)
	}
	for _, p := range peers {
		n.keepDialing(p.ID)
	}
	n.watchSleep(ctx)
	n.Close()
	return nil
}

// watchSleep waits for the end, and wakes the node when the machine has slept. A
// device that dials nobody needs no clock for that: each link has one.
func (n *Node) watchSleep(ctx context.Context) {
	var look <-chan time.Time
	if len(n.routes) > 0 {
		t := time.NewTicker(pingAfter / 2)
		defer t.Stop()
		look = t.C
	}
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-ctx.Done():
			return
		case <-n.ctx.Done():
			return
		case <-look:
		}
		if Slept(last, time.Now()) {
			n.Wake()
		}
	}
}

// Close ends all links and requests and waits for the node's goroutines.
func (n *Node) Close() {
	n.mu.Lock()
	n.closed = true
	var open []*session
	for _, p := range n.peers {
		if p.session == nil {
			continue
		}
		open = append(open, p.session)
		for id, a := range p.asks {
			if a.sent { // else a person is asked for nobody, until the window ends
				_ = p.session.send(id, wire.KindCancel, wire.Cancel{RequestID: id})
			}
		}
	}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	for _, s := range open {
		s.flush(ctx)
		s.close(ErrNodeClosed)
	}
	cancel()
	n.cancel()
	n.wg.Wait()
}

// begin counts a goroutine, unless the node is closed.
func (n *Node) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.beginLocked()
}

func (n *Node) beginLocked() bool {
	if !n.closed {
		n.wg.Add(1)
	}
	return !n.closed
}

// Disconnect is for a device that was unpaired: it ends dialling, and all requests
// from and to it, and its link, telling it why, which has wire.CodePairingInvalid.
func (n *Node) Disconnect(id device.ID, reason *wire.Error) {
	n.mu.Lock()
	p := n.peerLocked(id)
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	for _, v := range p.serving {
		v.cancel(reason)
	}
	clear(p.serving)
	clear(p.withdrawn)
	p.failAsksLocked(reason)
	s := p.session
	if s != nil {
		s.unpaired = true
	}
	if s == nil && p.requests == 0 {
		delete(n.peers, id)
	}
	n.mu.Unlock()
	if s != nil && !s.isLeaving() {
		s.closeAfter(reason, reason)
	}
}

// peerLocked returns the node's record of a device, made if need be.
func (n *Node) peerLocked(id device.ID) *peer {
	p := n.peers[id]
	if p == nil {
		p = &peer{
			id: id, wake: make(chan struct{}, 1),
			asks: map[string]*ask{}, withdrawn: map[string]time.Time{}, serving: map[string]*serving{},
		}
		n.peers[id] = p
	}
	return p
}

// Offer lets one unknown device pair, if it proves to know the invitation, until
// the offer ends. Nil closes it.
func (n *Node) Offer(o *device.Offer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.offer = o
}

func (n *Node) openOffer() *device.Offer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.offer == nil || n.offer.Ended(time.Now()) {
		return nil
	}
	return n.offer
}

// Wake dials at once whatever is waited for, and asks each link for a sign of
// life: for when the machine has woken or the network has changed.
func (n *Node) Wake() {
	n.wakeRoutes()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		p.poke()
		if p.session != nil {
			p.session.probeNow()
		}
	}
}

// wakeRoutes tells routes that keep a connection that it is wanted now.
func (n *Node) wakeRoutes() {
	for _, r := range n.routes {
		if w, ok := r.(Waker); ok {
			w.Wake()
		}
	}
}

// Rename changes the name that devices are told at the next link-up or pairing.
func (n *Node) Rename(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = cmp.Or(wire.Show(name), n.key.ID().Short()) // an empty name is that of a device which is not paired
}

func (n *Node) ownName() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// HelloAgain tells every linked peer what Config.Hello says now, for instance
// after a change of the phone's policy. A peer of an older version refuses it
// and goes by what it was told at link-up.
func (n *Node) HelloAgain() {
	n.mu.Lock()
	n.hellos++ // those that link up meanwhile are told again: see adopt
	n.mu.Unlock()
	hello := n.hello(false)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.session != nil {
			_ = p.session.send(wire.NewID(), wire.KindHello, hello) // as in adopt
		}
	}
}

func (n *Node) wakePeer(id device.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil {
		p.poke()
	}
}

func (p *peer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Peers returns the paired devices by name, and how it stands with each.
func (n *Node) Peers() []PeerStatus {
	peers, err := n.trust.Peers()
	if err != nil {
		n.log.Error("paired devices", "error", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]PeerStatus, 0, len(peers))
	for _, t := range peers {
		s := PeerStatus{ID: t.ID, Name: t.Name}
		if p := n.peers[t.ID]; p != nil {
			s.Connecting, s.Since, s.LastError = p.connecting, p.since, p.lastErr
			s.Hello, s.ClockDifference = p.hello, p.clock
			if p.session != nil {
				s.Connected, s.Route, s.LastError, s.RoundTrip = true, p.session.route, nil, p.session.roundTrip
			}
		}
		list = append(list, s)
	}
	return list
}

// Connected reports whether there is a link to the device.
func (n *Node) Connected(id device.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[id]
	return p != nil && p.session != nil
}

// hello is this device's first message on a link. A device that is not paired is
// told neither the name nor anything of the role.
func (n *Node) hello(unpaired bool) wire.Hello {
	var h wire.Hello
	if !unpaired {
		if n.role != nil {
			h = n.role()
		}
		h.DeviceName = n.ownName()
	}
	h.ProtocolVersion = wire.Version
	h.ClockMilliseconds = time.Now().UnixMilli()
	return h
}

// asPairing returns the error that says that the peer does not know this device.
func asPairing(err error) (*wire.Error, bool) {
	e, ok := errors.AsType[*wire.Error](err)
	return e, ok && e.Code == wire.CodePairingInvalid
}
