package hub

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

const (
	beatEvery = 3 * time.Second
	// goneAfter is how long a hub may be silent before its devices are taken
	// for offline.
	goneAfter = 12 * time.Second
	askEvery  = 2 * time.Second
	// listSize bounds the IDs in one announcement, so that it is within minPayload.
	listSize = 1024
)

// announcement is what a hub tells all others, as JSON. Each but a beat and a
// question has the next number, so that a lost one is noticed; who has missed one
// asks for the whole list.
type announcement struct {
	Hub  hubID  `json:"hub"`
	Seq  uint64 `json:"seq"`
	Here []here `json:"here,omitempty"`
	// First and Last are the ends of a whole list.
	First bool `json:"first,omitempty"`
	Last  bool `json:"last,omitempty"`
	// Ask asks for whole lists: Of one hub, or of all. Its Seq is that of the last
	// announcement, as that of a message that has nothing else, a sign of life.
	Ask bool   `json:"ask,omitempty"`
	Of  *hubID `json:"of,omitempty"`
	Bye bool   `json:"bye,omitempty"` // the hub ends
}

// here is one device of the hub that announces it.
type here struct {
	ID    device.ID   `json:"id"`
	Epoch uint64      `json:"epoch"`
	Allow []device.ID `json:"allow,omitempty"`
	Gone  bool        `json:"gone,omitempty"`
}

// peerHub is another hub of the cluster.
type peerHub struct {
	seq     uint64 // of its last announcement
	known   bool   // a whole list has come, and all since
	heard   time.Duration
	asked   time.Duration
	listing map[device.ID]bool // what a whole list has named so far; nil: none is coming
}

// join begins to listen, and asks who is where.
func (h *Hub) join() error {
	back := func() {
		h.log.Info("NATS is back")
		h.rejoin()
	}
	if err := h.bus.listen(back); err != nil {
		return err
	}
	h.wg.Go(h.hear)
	h.rejoin()
	return nil
}

// rejoin tells and asks all again, after messages may have been lost.
func (h *Hub) rejoin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list()
	h.post(announcement{Ask: true})
}

// announce tells the other hubs of a device. h.mu is held.
func (h *Hub) announce(d here) { h.post(announcement{Here: []here{d}}) }

// post numbers an announcement and has it sent, if there can be other hubs. One that
// finds the outbox full is lost, which its number tells the others. h.mu is held.
func (h *Hub) post(a announcement) {
	if h.bus.alone() {
		return
	}
	a.Hub = h.bus.id
	if len(a.Here) > 0 || a.First || a.Last || a.Bye {
		h.seq++
	}
	a.Seq = h.seq
	select {
	case h.bus.outbox <- a:
	default:
	}
}

// list announces all devices of this hub. h.mu is held.
func (h *Hub) list() {
	a, size := announcement{First: true}, 0
	for id, c := range h.local {
		a.Here = append(a.Here, here{ID: id, Epoch: c.epoch, Allow: c.allow})
		if size += 1 + len(c.allow); size >= listSize {
			h.post(a)
			a, size = announcement{}, 0
		}
	}
	a.Last = true
	h.post(a)
}

// beat gives a sign of life now and then, and notices hubs that give none.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now-h.beaten >= beatEvery {
		h.beaten = now
		h.post(announcement{})
	}
	for id, p := range h.hubs {
		if now-p.heard > goneAfter {
			h.log.Warn("another hub is gone")
			h.drop(id)
		}
	}
}

// hear serves what NATS brings, one message after the other.
func (h *Hub) hear() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case m := <-h.bus.inbox:
			if m.Subject == subjectAll {
				h.hearAll(m)
			} else {
				h.hearFrame(m.Data)
			}
		}
	}
}

func (h *Hub) hearAll(m *nats.Msg) {
	var a announcement
	if json.Unmarshal(m.Data, &a) != nil || a.Hub == h.bus.id {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return
	}
	p := h.hubs[a.Hub]
	if p == nil {
		p = &peerHub{asked: -askEvery}
		h.hubs[a.Hub] = p
	}
	p.heard = h.now()
	switch {
	case a.Bye:
		h.drop(a.Hub)
		return
	case a.Ask && (a.Of == nil || *a.Of == h.bus.id):
		h.list()
	}
	plain := len(a.Here) == 0 && !a.First && !a.Last
	switch {
	case a.First:
		p.known, p.listing = true, map[device.ID]bool{}
	case !p.known, plain && a.Seq != p.seq, !plain && a.Seq != p.seq+1:
		h.ask(a.Hub, p)
		return
	}
	p.seq = a.Seq
	h.apply(a, p)
}

// ask asks a hub for its whole list, since something it said was not heard.
func (h *Hub) ask(id hubID, p *peerHub) {
	p.known, p.listing = false, nil
	if now := h.now(); now-p.asked >= askEvery {
		p.asked = now
		h.post(announcement{Ask: true, Of: &id})
	}
}

// apply takes in what another hub says of its devices. h.mu is held.
func (h *Hub) apply(a announcement, p *peerHub) {
	for _, d := range a.Here {
		if p.listing != nil {
			p.listing[d.ID] = true
		}
		if d.Gone {
			h.gone(a.Hub, d.ID)
		} else {
			h.arrived(a.Hub, d)
		}
	}
	if a.Last && p.listing != nil {
		for id, r := range h.remote {
			if r.hub == a.Hub && !p.listing[id] {
				h.gone(a.Hub, id)
			}
		}
		p.listing = nil
	}
}

// arrived notes that a device is online at another hub. Its newest connection
// counts, wherever it is. h.mu is held.
func (h *Hub) arrived(hub hubID, d here) {
	h.clock = max(h.clock, d.Epoch)
	r := h.remote[d.ID]
	before, again := r.allow, r.hub != hub || r.epoch != d.Epoch
	if c := h.local[d.ID]; c != nil {
		if !newer(d.Epoch, hub, c.epoch, h.bus.id) {
			return
		}
		before = c.allow
		h.replace(c)
	} else if r.hub != (hubID{}) && r.hub != hub && !newer(d.Epoch, hub, r.epoch, r.hub) {
		return
	}
	after := newAllowList(d.ID, d.Allow)
	h.remote[d.ID] = remoteDevice{hub: hub, epoch: d.Epoch, allow: after}
	h.tell(d.ID, before, after, again)
}

// gone notes that a device is not at that hub any more. h.mu is held.
func (h *Hub) gone(hub hubID, id device.ID) {
	if r, ok := h.remote[id]; ok && r.hub == hub {
		delete(h.remote, id)
		h.tell(id, r.allow, nil, false)
	}
}

// drop forgets a hub with all its devices. h.mu is held.
func (h *Hub) drop(hub hubID) {
	delete(h.hubs, hub)
	for _, c := range h.local {
		for _, key := range c.streamsTo(hub) {
			c.fail(key, hubwire.ReasonUnreached)
		}
	}
	for id, r := range h.remote {
		if r.hub == hub {
			h.gone(hub, id)
		}
	}
}

// streamsTo names the streams that lead to another hub.
func (c *conn) streamsTo(hub hubID) []streamKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []streamKey
	for key, s := range c.streams {
		if s.to == nil && s.hub == hub {
			keys = append(keys, key)
		}
	}
	return keys
}

// hearFrame serves what another hub brings for a device of this one.
func (h *Hub) hearFrame(m []byte) {
	if len(m) < prefixSize {
		return
	}
	var from hubID
	var to device.ID
	copy(from[:], m[1:])
	copy(to[:], m[1+len(from):])
	frame := m[prefixSize:]
	f, err := hubwire.ParseFrame(frame)
	if err != nil {
		return
	}
	h.mu.RLock()
	c := h.local[to]
	h.mu.RUnlock()
	key := streamKey{f.Peer, f.Stream}
	switch {
	case op(m[0]) == opRight:
		if c != nil {
			c.guessed()
		}
	case op(m[0]) != opFrame:
	case f.Kind == hubwire.KindOpen:
		h.hearOpen(from, to, c, f)
	case f.Kind == hubwire.KindClose:
		if c != nil {
			c.fail(key, hubwire.Reason(f.Payload[0]))
		}
	default:
		h.hearData(from, to, c, key, frame)
	}
}

func (h *Hub) hearOpen(from hubID, to device.ID, c *conn, f hubwire.Frame) {
	var hash []byte
	why := hubwire.ReasonUnreached
	if len(f.Payload) > 0 {
		hash, why = f.Payload, hubwire.ReasonWrongToken
	}
	if c != nil {
		why = h.admit(c, streamKey{f.Peer, f.Stream}, stream{hub: from}, hash)
	}
	switch {
	case why != hubwire.ReasonClosed:
		h.sendClose(from, f.Peer, to, f.Stream, why)
	case hash != nil:
		answer := hubwire.Frame{Kind: hubwire.KindOpen, Peer: to, Stream: f.Stream}
		_ = h.bus.send(opRight, from, f.Peer, answer.Append(nil))
	}
}

func (h *Hub) hearData(from hubID, to device.ID, c *conn, key streamKey, frame []byte) {
	why := hubwire.ReasonUnreached
	if c != nil {
		c.mu.Lock()
		s, ok := c.streams[key]
		c.mu.Unlock()
		if ok && s.hub == from && s.to == nil {
			if c.deliver(frame) {
				return
			}
			why = hubwire.ReasonSlow
			c.fail(key, why)
		}
	}
	h.sendClose(from, key.peer, to, key.id, why) // also tells a hub that has missed the end
}

// sendClose ends a stream at a device of another hub, in the name of peer. If NATS is
// away, that hub finds out by itself.
func (h *Hub) sendClose(hub hubID, id, peer device.ID, streamID uint64, why hubwire.Reason) {
	f := hubwire.Frame{Kind: hubwire.KindClose, Peer: peer, Stream: streamID, Payload: []byte{byte(why)}}
	_ = h.bus.sendFrame(hub, id, f.Append(nil))
}
