// Package hubtest is a hub for tests, in memory or over real WebSockets. It
// speaks the hub's protocol, keeps all that it saw, and misbehaves as it is
// told: it is the evilhub of the tests. It is no part of any program.
package hubtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// VAPIDKey is what its welcome tells.
const VAPIDKey = "BNotAKey"

// Packet is a frame on its way between two devices.
type Packet struct {
	From, To device.ID
	hubwire.Frame
}

// Hub is the hub. Set its fields before devices come.
type Hub struct {
	origin string

	// Challenge may change the challenge that a device gets.
	Challenge func(*hubwire.Message)
	// Blind makes the hub carry streams whoever allows whom.
	Blind bool
	// Mute keeps it from telling devices that streams ended with others.
	Mute bool

	mu        sync.Mutex
	devices   map[device.ID]*guest
	streams   map[opened]bool
	seen      []Seen
	connects  int
	refuse    bool
	tokens    map[[hubwire.TokenSize]byte]device.ID
	woken     []device.ID
	subscribe map[device.ID]string

	relaying sync.Mutex // one packet at a time
	relay    func(Packet) []Packet
	wg       sync.WaitGroup
}

// New returns a hub whose public URL has this origin.
func New(origin string) *Hub {
	return &Hub{
		origin: origin, devices: map[device.ID]*guest{}, streams: map[opened]bool{},
		tokens: map[[hubwire.TokenSize]byte]device.ID{}, subscribe: map[device.ID]string{},
	}
}

// opened is a stream.
type opened struct {
	by, to device.ID
	number uint64
}

// guest is a device's connection.
type guest struct {
	id     device.ID
	socket socket
	allow  []device.ID
	hole   bool // nothing comes through, and nobody is told
}

type socket interface {
	Read() (text bool, message []byte, err error)
	Write(text bool, message []byte) error
	Close() error
}

// Open connects a device in memory: relay.Config.Open.
func (h *Hub) Open(ctx context.Context, _ string) (*Pipe, error) {
	h.mu.Lock()
	refuse := h.refuse
	h.connects++
	h.mu.Unlock()
	if refuse {
		return nil, errors.New("refused")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	near, far := newPipe()
	h.wg.Go(func() { h.serve(far) })
	return near, nil
}

// Tamper sets what becomes of packets; nil lets each pass. It is called for one
// packet at a time.
func (h *Hub) Tamper(relay func(Packet) []Packet) {
	h.relaying.Lock()
	defer h.relaying.Unlock()
	h.relay = relay
}

// Refuse makes the hub unreachable, or reachable again.
func (h *Hub) Refuse(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = refuse
}

// Connects returns how often devices have tried to connect.
func (h *Hub) Connects() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connects
}

// Record returns every byte that devices have sent, and from where.
func (h *Hub) Record() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []byte
	for _, s := range h.seen {
		all = append(all, s.Body...)
	}
	return all
}

// Opened and Closed return how many streams a device has asked for, and ended.
func (h *Hub) Opened(by device.ID) int { return h.frames(by, hubwire.KindOpen) }

// Closed is described at Opened.
func (h *Hub) Closed(by device.ID) int { return h.frames(by, hubwire.KindClose) }

func (h *Hub) frames(by device.ID, kind hubwire.Kind) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.seen {
		if f, err := hubwire.ParseFrame(s.Body); err == nil && !s.Text && s.From == by && f.Kind == kind {
			n++
		}
	}
	return n
}

// Told returns how often a device has sent messages of a type.
func (h *Hub) Told(by device.ID, typ hubwire.Type) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.seen {
		if m, err := hubwire.ParseMessage(s.Body); err == nil && s.Text && s.From == by && m.Type == typ {
			n++
		}
	}
	return n
}

// Woken returns the devices that were to be woken.
func (h *Hub) Woken() []device.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.woken)
}

// Subscription returns what a device has subscribed with.
func (h *Hub) Subscription(id device.ID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.subscribe[id]
}

// Has reports whether a device is connected.
func (h *Hub) Has(id device.ID) bool { return h.guest(id) != nil }

func (h *Hub) guest(id device.ID) *guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.devices[id]
}

// Cut ends a device's connection.
func (h *Hub) Cut(id device.ID) {
	if g := h.guest(id); g != nil {
		_ = g.socket.Close()
	}
}

// Hole makes a device's connection swallow everything, in both directions.
func (h *Hub) Hole(id device.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.devices[id]; g != nil {
		g.hole = true
	}
}

// Send sends a device whatever message.
func (h *Hub) Send(id device.ID, text bool, message []byte) {
	if g := h.guest(id); g != nil {
		h.write(g, text, message)
	}
}

// Wait returns when all connections have ended, which is up to the devices.
func (h *Hub) Wait() { h.wg.Wait() }

func (h *Hub) write(g *guest, text bool, message []byte) {
	h.mu.Lock()
	hole := g.hole
	h.mu.Unlock()
	if !hole {
		_ = g.socket.Write(text, message)
	}
}

func (h *Hub) say(g *guest, m hubwire.Message) { h.write(g, true, encode(m)) }

func encode(m hubwire.Message) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// serve is one device's connection.
func (h *Hub) serve(s socket) {
	defer s.Close()
	g := &guest{socket: s}
	if !h.prove(g) {
		return
	}
	h.enter(g)
	defer h.leave(g)
	h.tellPresence(g)
	for {
		text, b, err := s.Read()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.seen = append(h.seen, Seen{g.id, text, slices.Clone(b)})
		hole := g.hole
		h.mu.Unlock()
		switch {
		case hole:
		case text:
			h.take(g, b)
		default:
			h.carry(g, b)
		}
	}
}

func (h *Hub) prove(g *guest) bool {
	c := hubwire.Message{Type: hubwire.TypeChallenge, Challenge: make([]byte, hubwire.ChallengeSize), Origin: h.origin}
	_, _ = rand.Read(c.Challenge)
	signed := hubwire.SignedBytes(c.Origin, c.Challenge)
	if h.Challenge != nil {
		h.Challenge(&c)
	}
	h.say(g, c)
	text, b, err := g.socket.Read()
	if err != nil {
		return false
	}
	h.mu.Lock()
	h.seen = append(h.seen, Seen{g.id, text, slices.Clone(b)})
	h.mu.Unlock()
	m, err := hubwire.ParseMessage(b)
	if err != nil || !text || m.Type != hubwire.TypeProof || !verify(m, signed) {
		h.say(g, hubwire.Message{Type: hubwire.TypeError, Code: hubwire.CodeBadProof, Message: "bad proof"})
		return false
	}
	g.id, g.allow = sha256.Sum256(m.PublicKey), m.Allow
	return true
}

func verify(m hubwire.Message, signed []byte) bool {
	k, err := x509.ParsePKIXPublicKey(m.PublicKey)
	if err != nil {
		return false
	}
	digest := sha256.Sum256(signed)
	return ecdsa.VerifyASN1(k.(*ecdsa.PublicKey), digest[:], m.Signature)
}

func (h *Hub) enter(g *guest) {
	h.mu.Lock()
	old := h.devices[g.id]
	h.devices[g.id] = g
	// Before anybody can find it: what others make the hub say must not overtake
	// the welcome, as with the real hub. Nothing else waits in its socket yet.
	_ = g.socket.Write(true, encode(hubwire.Message{Type: hubwire.TypeWelcome, VAPIDKey: VAPIDKey}))
	h.mu.Unlock()
	if old != nil {
		h.say(old, hubwire.Message{Type: hubwire.TypeError, Code: hubwire.CodeReplaced})
		_ = old.socket.Close()
	}
}

func (h *Hub) leave(g *guest) {
	h.mu.Lock()
	gone := h.devices[g.id] == g
	if gone {
		delete(h.devices, g.id)
	}
	others := h.others(g)
	h.mu.Unlock()
	if !h.Mute {
		h.endStreams(g.id)
	}
	for _, other := range others {
		if gone {
			h.say(other, hubwire.Message{Type: hubwire.TypePresence, Peer: &g.id})
		}
	}
}

// endStreams tells the other ends of a device's streams that it has gone.
func (h *Hub) endStreams(id device.ID) {
	var ends []Packet
	h.mu.Lock()
	for o := range h.streams {
		end := Packet{Frame: hubwire.Frame{Kind: hubwire.KindClose, Stream: o.number, Payload: []byte{byte(hubwire.ReasonUnreached)}}}
		switch id {
		case o.by:
			end.From, end.To = o.by, o.to
		case o.to:
			end.From, end.To = o.to, o.by
		default:
			continue
		}
		delete(h.streams, o)
		ends = append(ends, end)
	}
	h.mu.Unlock()
	for _, end := range ends {
		h.Deliver(end)
	}
}

func mutual(a, b *guest) bool {
	return slices.Contains(a.allow, b.id) && slices.Contains(b.allow, a.id)
}

// others are the devices that allow this one, and it them. h.mu is held.
func (h *Hub) others(g *guest) (list []*guest) {
	for _, other := range h.devices {
		if other != g && mutual(g, other) {
			list = append(list, other)
		}
	}
	return list
}

// tellPresence tells a device of others, and them of it.
func (h *Hub) tellPresence(g *guest) {
	h.mu.Lock()
	others := h.others(g)
	h.mu.Unlock()
	for _, other := range others {
		h.say(g, hubwire.Message{Type: hubwire.TypePresence, Peer: &other.id, Online: true})
		h.say(other, hubwire.Message{Type: hubwire.TypePresence, Peer: &g.id, Online: true})
	}
}

func (h *Hub) take(g *guest, b []byte) {
	m, err := hubwire.ParseMessage(b)
	if err != nil {
		_ = g.socket.Close()
		return
	}
	answer := hubwire.Message{Type: hubwire.TypeDone, ID: m.ID}
	h.mu.Lock()
	switch m.Type {
	case hubwire.TypeAllow:
		g.allow = m.Allow
	case hubwire.TypeRendezvous:
		for t, id := range h.tokens {
			if id == g.id {
				delete(h.tokens, t)
			}
		}
		if len(m.Token) > 0 {
			h.tokens[[hubwire.TokenSize]byte(m.Token)] = g.id
		}
	case hubwire.TypeSubscribe:
		h.subscribe[g.id] = string(m.Subscription)
	case hubwire.TypeWake:
		if m.Peer == nil || h.subscribe[*m.Peer] == "" {
			answer = hubwire.Message{Type: hubwire.TypeError, ID: m.ID, Code: hubwire.CodeNotSubscribed}
		} else {
			h.woken = append(h.woken, *m.Peer)
		}
	}
	h.mu.Unlock()
	h.say(g, answer)
	if m.Type == hubwire.TypeAllow {
		h.tellPresence(g)
	}
}

// carry passes a frame on.
func (h *Hub) carry(g *guest, b []byte) {
	f, err := hubwire.ParseFrame(b)
	if err != nil {
		_ = g.socket.Close()
		return
	}
	if f.Kind == hubwire.KindOpen {
		if r := h.refusal(g, f); r != hubwire.ReasonClosed {
			h.Deliver(Packet{f.Peer, g.id, hubwire.Frame{Kind: hubwire.KindClose, Stream: f.Stream, Payload: []byte{byte(r)}}})
			return
		}
		f.Payload = nil
		h.mu.Lock()
		h.streams[opened{g.id, f.Peer, f.Stream}] = true
		h.mu.Unlock()
	}
	p := Packet{From: g.id, To: f.Peer, Frame: f}
	packets := []Packet{p}
	h.relaying.Lock()
	if h.relay != nil {
		p.Payload = slices.Clone(p.Payload) // it may be kept
		packets = h.relay(p)
	}
	h.relaying.Unlock()
	for _, p := range packets {
		h.Deliver(p)
	}
}

func (h *Hub) refusal(g *guest, f hubwire.Frame) hubwire.Reason {
	to := h.guest(f.Peer)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(f.Payload) > 0 {
		token := [hubwire.TokenSize]byte(f.Payload)
		if h.tokens[token] != f.Peer {
			return hubwire.ReasonWrongToken
		}
		delete(h.tokens, token)
		return hubwire.ReasonClosed
	}
	if to == nil || !h.Blind && !mutual(g, to) {
		return hubwire.ReasonUnreached
	}
	return hubwire.ReasonClosed
}

// Deliver sends a packet to its device, as from its sender.
func (h *Hub) Deliver(p Packet) {
	p.Peer = p.From
	if g := h.guest(p.To); g != nil {
		h.write(g, false, p.Append(nil))
	}
}
