package link

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// maxWithdrawn bounds the cancels that wait for a device to come back.
const maxWithdrawn = 64

// ask is a request of this device that waits for its answer.
type ask struct {
	number   uint64 // in the order of asking
	kind     wire.Kind
	frame    []byte
	sent     bool
	received func()
	done     chan answered // of capacity 1
}

type answered struct {
	envelope wire.Envelope
	err      error
}

// Ask sends a request to a paired device and returns its answer: the envelope of
// the response kind, or the *wire.Error that the device sent instead. It waits
// for a link, and sends the request again after a reconnect, until ctx ends;
// then it withdraws the request. ID is the requestID where the body has one.
// Received, if not nil, is called once when the device shows the request to a
// person; it must not block. If the device is or becomes unpaired, on either
// side, the error has wire.CodePairingInvalid.
func (n *Node) Ask(ctx context.Context, to device.ID, kind wire.Kind, id string, body any, received func()) (wire.Envelope, error) {
	frame, err := wire.NewFrame(id, kind, body)
	if err != nil {
		return wire.Envelope{}, err
	}
	a := &ask{kind: kind, frame: frame, received: received, done: make(chan answered, 1)}
	if err := n.post(to, id, a); err != nil {
		return wire.Envelope{}, err
	}
	select {
	case got := <-a.done:
		return got.envelope, got.err
	case <-ctx.Done():
		n.withdraw(to, id, a)
		return wire.Envelope{}, context.Cause(ctx)
	case <-n.ctx.Done():
		n.withdraw(to, id, a)
		return wire.Envelope{}, ErrNodeClosed
	}
}

// Tell sends a paired device what needs no answer. It is not sent again: without
// a link it returns ErrNotLinked, and what still matters then belongs into the
// next Handler.LinkUp, from which Tell may be called.
func (n *Node) Tell(to device.ID, kind wire.Kind, body any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[to]
	if p == nil || p.session == nil {
		return ErrNotLinked
	}
	return p.session.send(wire.NewID(), kind, body)
}

// post makes the ask wait, and sends it if there is a link.
func (n *Node) post(to device.ID, id string, a *ask) error {
	n.mu.Lock()
	linked := n.peers[to] != nil && n.peers[to].session != nil
	n.mu.Unlock()
	if !linked { // whoever is unpaired has none
		if _, err := n.trust.Get(to); err != nil {
			return errNotPaired
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerLocked(to)
	switch {
	case n.closed:
		return ErrNodeClosed
	case len(p.asks) >= MaxAsks:
		return ErrTooManyAsks
	case p.asks[id] != nil:
		return ErrDuplicateID
	}
	n.asked++
	a.number = n.asked
	p.asks[id] = a
	if p.session == nil {
		p.poke()
		n.wakeRoutes()
		return nil
	}
	a.sent = true
	_ = p.session.write(a.frame) // what fails here is sent again by the next link
	return nil
}

// sendAgainLocked sends a new link what waits for an answer, and what was
// withdrawn while there was no link. It happens under the node's lock, so that
// no withdrawal can overtake the request that it withdraws.
func (p *peer) sendAgainLocked(s *session) {
	for id := range p.withdrawn {
		_ = s.send(id, wire.KindCancel, wire.Cancel{RequestID: id})
	}
	clear(p.withdrawn)
	for _, a := range slices.SortedFunc(maps.Values(p.asks), func(a, b *ask) int { return cmp.Compare(a.number, b.number) }) {
		a.sent = true
		_ = s.write(a.frame)
	}
}

// withdraw takes back what was asked.
func (n *Node) withdraw(to device.ID, id string, a *ask) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[to]
	if p == nil || p.asks[id] != a {
		return
	}
	delete(p.asks, id)
	switch {
	case !a.sent:
	case p.session != nil:
		_ = p.session.send(id, wire.KindCancel, wire.Cancel{RequestID: id})
	default:
		// Those of requests whose windows have passed are of no use any more.
		maps.DeleteFunc(p.withdrawn, func(_ string, at time.Time) bool { return time.Since(at) > wire.MaxWindow })
		if len(p.withdrawn) < maxWithdrawn {
			p.withdrawn[id] = time.Now()
		}
	}
}

// answer gives an answer to whoever waits for it. One that nobody waits for, be
// it a second answer or one for another's request, is ignored.
func (n *Node) answer(p *peer, e wire.Envelope) {
	n.mu.Lock()
	a := p.asks[e.ID]
	if a != nil {
		delete(p.asks, e.ID)
	}
	n.mu.Unlock()
	switch {
	case a == nil:
		n.log.Debug("answer that nobody waits for", "peer", p.id.Short(), "kind", e.Kind)
	case e.Kind == wire.KindError:
		a.done <- answered{err: asError(e)}
	case e.Kind != responseTo[a.kind]:
		a.done <- answered{err: wire.Errorf(wire.CodeMalformedRequest, "%s answered by %s", a.kind, e.Kind)}
	default:
		a.done <- answered{envelope: e}
	}
}

var responseTo = map[wire.Kind]wire.Kind{
	wire.KindKeyListRequest:     wire.KindKeyListResponse,
	wire.KindSignRequest:        wire.KindSignResponse,
	wire.KindCertificateRequest: wire.KindCertificateResponse,
}

func (n *Node) received(p *peer, e wire.Envelope) {
	n.mu.Lock()
	a := p.asks[e.ID]
	var tell func()
	if a != nil {
		tell, a.received = a.received, nil
	}
	n.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// failAsksLocked ends everything that waits for the device.
func (p *peer) failAsksLocked(e *wire.Error) {
	for _, a := range p.asks {
		a.done <- answered{err: e}
	}
	clear(p.asks)
}
