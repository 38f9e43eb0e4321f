package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// streamKey names a stream among those of one device.
type streamKey struct {
	peer device.ID
	id   uint64
}

// stream is one device's end of a stream: where the other end is.
type stream struct {
	to  *conn // on this hub, or
	hub hubID // there
}

// rendezvous lets one device in that is not paired: whoever shows what the hash is of.
type rendezvous struct {
	hash  [sha256.Size]byte
	until time.Time
}

func (c *conn) takeRendezvous(m hubwire.Message) {
	if len(m.Token) != 0 && (len(m.Token) != hubwire.TokenSize || m.Seconds <= 0) {
		c.refuseRequest(m.ID, hubwire.CodeMalformed, "a rendezvous needs a token and a time")
		return
	}
	var r *rendezvous
	if len(m.Token) != 0 {
		life := min(time.Duration(min(m.Seconds, 1<<20))*time.Second, MaxRendezvous)
		r = &rendezvous{hash: sha256.Sum256(m.Token), until: time.Now().Add(life)}
	}
	c.mu.Lock()
	c.rendezvous = r
	c.mu.Unlock()
	c.done(m.ID)
}

// takeFrame serves a binary message, whose bytes are its own from here on.
func (c *conn) takeFrame(b []byte) {
	f, err := hubwire.ParseFrame(b)
	if err != nil {
		c.end(endMalformed, hubwire.CodeMalformed, err.Error())
		return
	}
	if f.Kind == hubwire.KindData {
		c.takeData(f, b)
		return
	}
	if f.Kind == hubwire.KindOpen {
		c.takeOpen(f)
		return
	}
	key := streamKey{f.Peer, f.Stream}
	if s, ok := c.removeStream(key); ok {
		c.closeFar(s, key, hubwire.ReasonClosed) // other reasons are the hub's to give
	}
}

// takeData passes data on. A stream that is not open may just have been closed.
func (c *conn) takeData(f hubwire.Frame, b []byte) {
	key := streamKey{f.Peer, f.Stream}
	c.mu.Lock()
	s, ok := c.streams[key]
	c.mu.Unlock()
	if !ok {
		return
	}
	hubwire.SetPeer(b, c.id)
	if s.to == nil {
		if err := c.hub.bus.sendFrame(s.hub, f.Peer, b); err != nil {
			c.fail(key, hubwire.ReasonUnreached)
		}
		return
	}
	if !s.to.deliver(b) {
		s.to.fail(streamKey{c.id, f.Stream}, hubwire.ReasonSlow)
		c.fail(key, hubwire.ReasonSlow)
	}
}

// deliver queues another device's data. When too much waits for all devices
// together, only those for which little waits are sent more: who makes others
// wait on purpose does not stop them.
func (c *conn) deliver(b []byte) bool {
	limits := c.hub.limits
	limit := limits.QueueBytes
	if c.hub.queued.Load() > int64(limits.TotalQueueBytes) {
		limit /= smallShare
	}
	return c.enqueue(item{b: b}, limit)
}

// takeOpen opens a stream to another device.
func (c *conn) takeOpen(f hubwire.Frame) {
	h, key := c.hub, streamKey{f.Peer, f.Stream}
	refuse := hubwire.ReasonUnreached
	var hash []byte
	if len(f.Payload) > 0 {
		refuse = hubwire.ReasonWrongToken
		sum := sha256.Sum256(f.Payload)
		hash = sum[:]
		if !c.guess() {
			return
		}
	}
	h.mu.RLock()
	to, far := h.local[f.Peer], h.remote[f.Peer]
	h.mu.RUnlock()
	s := stream{to: to, hub: far.hub}
	if to != nil && h.config.NoShortCut {
		s = stream{hub: h.bus.id}
	}
	switch why, known := c.addStream(key, s); {
	case known:
		c.end(endMalformed, hubwire.CodeMalformed, "the stream is open already")
		return
	case why != hubwire.ReasonClosed:
		c.refuseStream(key, why)
		return
	}
	switch {
	case s.to != nil:
		if why := h.admit(to, streamKey{c.id, f.Stream}, stream{to: c}, hash); why != hubwire.ReasonClosed {
			c.fail(key, why)
		} else {
			c.settle(key, s)
			if hash != nil {
				c.guessed()
			}
		}
	case s.hub != hubID{}:
		frame := hubwire.Frame{Kind: hubwire.KindOpen, Peer: c.id, Stream: f.Stream, Payload: hash}
		if h.bus.sendFrame(s.hub, f.Peer, frame.Append(nil)) != nil {
			c.fail(key, refuse)
		} else {
			c.settle(key, s)
		}
	default:
		c.fail(key, refuse)
	}
}

// settle ends a stream at its far end if this one has been replaced meanwhile.
func (c *conn) settle(key streamKey, s stream) {
	c.mu.Lock()
	_, open := c.streams[key]
	c.mu.Unlock()
	if !open {
		c.closeFar(s, key, hubwire.ReasonUnreached)
	}
}

// admit opens a stream at the device that it leads to, if that device allows it
// or the token is the one it waits for. The token's hash may be nil.
func (h *Hub) admit(to *conn, key streamKey, s stream, hash []byte) hubwire.Reason {
	if hash != nil {
		if !to.spendToken(hash) {
			return hubwire.ReasonWrongToken
		}
	} else {
		h.mu.RLock()
		allowed := to.allow.has(key.peer)
		h.mu.RUnlock()
		if !allowed {
			return hubwire.ReasonUnreached
		}
	}
	why, known := to.addStream(key, s)
	if known {
		return hubwire.ReasonBusy
	}
	if why == hubwire.ReasonClosed {
		to.sendFrame(hubwire.Frame{Kind: hubwire.KindOpen, Peer: key.peer, Stream: key.id})
	}
	return why
}

// spendToken uses up the rendezvous if the token is right.
func (c *conn) spendToken(hash []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rendezvous
	if r == nil || subtle.ConstantTimeCompare(r.hash[:], hash) != 1 {
		return false
	}
	c.rendezvous = nil
	return time.Now().Before(r.until)
}

// addStream notes a stream, or tells why not: known if there is one of the same
// name. ReasonClosed means that it is noted.
func (c *conn) addStream(key streamKey, s stream) (why hubwire.Reason, known bool) {
	limits := c.hub.limits
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.streams[key]; known {
		return 0, true
	}
	if c.over.Load() {
		return hubwire.ReasonUnreached, false
	}
	same := 0
	for other := range c.streams {
		if other.peer == key.peer {
			same++
		}
	}
	if len(c.streams) >= limits.Streams || same >= limits.StreamsPerPeer {
		return hubwire.ReasonBusy, false
	}
	if c.streams == nil {
		c.streams = map[streamKey]stream{}
	}
	c.streams[key] = s
	return hubwire.ReasonClosed, false
}

func (c *conn) removeStream(key streamKey) (stream, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.streams[key]
	if ok {
		c.forget(key)
	}
	return s, ok
}

// forget removes a stream. A device without streams keeps no table of them. c.mu
// is held.
func (c *conn) forget(key streamKey) {
	delete(c.streams, key)
	if len(c.streams) == 0 {
		c.streams = nil
	}
}

// fail ends this device's end of a stream, and tells it why.
func (c *conn) fail(key streamKey, why hubwire.Reason) {
	if _, ok := c.removeStream(key); ok {
		c.refuseStream(key, why)
	}
}

func (c *conn) refuseStream(key streamKey, why hubwire.Reason) {
	c.sendFrame(hubwire.Frame{Kind: hubwire.KindClose, Peer: key.peer, Stream: key.id, Payload: []byte{byte(why)}})
	if why == hubwire.ReasonWrongToken {
		c.guessedWrong()
	}
}

// closeFar ends the other end of a stream of this device.
func (c *conn) closeFar(s stream, key streamKey, why hubwire.Reason) {
	if s.to != nil {
		s.to.fail(streamKey{c.id, key.id}, why)
		return
	}
	c.hub.sendClose(s.hub, key.peer, c.id, key.id, why)
}

// closeStreams ends all streams of a device that has left.
func (c *conn) closeStreams() {
	c.mu.Lock()
	streams := c.streams
	c.streams = nil
	c.mu.Unlock()
	for key, s := range streams {
		c.closeFar(s, key, hubwire.ReasonUnreached)
	}
}

// guess counts a token that the device shows. After too many that were not
// right, or not yet, it ends the connection.
func (c *conn) guess() bool {
	c.mu.Lock()
	c.guesses++
	over := c.guesses > MaxWrongTokens
	c.mu.Unlock()
	if over {
		c.endGuessing()
	}
	return !over
}

// guessed tells that a token was right.
func (c *conn) guessed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guesses--
}

func (c *conn) guessedWrong() {
	c.mu.Lock()
	c.wrong++
	over := c.wrong >= MaxWrongTokens
	c.mu.Unlock()
	if over {
		c.endGuessing()
	}
}

// endGuessing ends the connection of a device that tries tokens, and lets its
// address come back only slowly.
func (c *conn) endGuessing() {
	c.hub.addresses.slow(c.from, c.hub.now())
	c.end(endGuessing, hubwire.CodeBusy, "too many wrong tokens")
}
