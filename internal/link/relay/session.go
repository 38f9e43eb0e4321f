package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/hubwire"
)

// session is one proven connection to the hub, with its streams. One goroutine
// reads, one writes what is queued, one sees to it that the hub is alive; all
// end when the session ends.
type session struct {
	client *Client
	socket Socket
	began  time.Time
	wg     sync.WaitGroup
	done   chan struct{} // closed when it ends
	work   chan struct{} // of capacity 1: something is queued
	probe  chan struct{} // of capacity 1: ask for a sign of life now

	heard   atomic.Int64 // when a message last came, as time since began
	writing atomic.Int64 // when the write under way began, likewise; 0: none
	unread  atomic.Int64 // bytes in the buffers of all streams

	// mu guards what follows. Nothing is waited for while it is held.
	mu       sync.Mutex
	err      error // why it ended
	streams  map[streamID]*stream
	inbound  int // of streams, those that others opened
	queue    []outgoing
	queued   int           // bytes in queue
	room     chan struct{} // closed, and made anew, when there is room in queue
	drained  chan struct{} // not nil in drain; closed when all is written
	requests map[uint64]chan hubwire.Message
	last     uint64 // request
	refused  uint64 // the last that nobody waited for and that was refused
}

// streamID names a stream: the other device, and the number that whoever opened
// it chose.
type streamID struct {
	peer   device.ID
	number uint64
}

type outgoing struct {
	text bool
	b    []byte
}

func newSession(c *Client, socket Socket) *session {
	return &session{
		client: c, socket: socket, began: time.Now(),
		done: make(chan struct{}), work: make(chan struct{}, 1), probe: make(chan struct{}, 1),
		streams: map[streamID]*stream{}, room: make(chan struct{}), requests: map[uint64]chan hubwire.Message{},
	}
}

// end ends the session for a reason, of which the first stays, and all streams.
func (s *session) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	streams := s.streams
	s.streams, s.inbound, s.queue = map[streamID]*stream{}, 0, nil
	close(s.done)
	s.mu.Unlock()
	for _, t := range streams {
		t.fail(hubLost(err))
	}
	_ = s.socket.Close()
}

// drain ends the session after what is queued has been written, so that the
// other devices learn that streams have been closed.
func (s *session) drain() {
	s.mu.Lock()
	drained := make(chan struct{})
	s.drained = drained
	idle := s.queued == 0
	s.mu.Unlock()
	if !idle {
		t := time.NewTimer(closeTimeout)
		defer t.Stop()
		select {
		case <-drained:
		case <-s.done:
		case <-t.C:
		}
	}
	s.end(ErrClosed)
}

// lost is why a session ended whose socket failed. It does not wrap what the
// socket said: a stream's io.EOF means that the other device has closed it.
func lost(err error) error { return fmt.Errorf("%w: %s", ErrHubLost, err.Error()) }

// hubLost is what a session's end means to its streams and requests.
func hubLost(reason error) error {
	if errors.Is(reason, ErrHubLost) {
		return reason
	}
	return fmt.Errorf("%w: %w", ErrHubLost, reason)
}

// endStreams ends the streams with a device that has gone.
func (s *session) endStreams(peer device.ID) {
	var gone []*stream
	s.mu.Lock()
	for id, t := range s.streams {
		if id.peer == peer {
			gone = append(gone, t)
		}
	}
	s.mu.Unlock()
	for _, t := range gone {
		t.remoteClosed(hubwire.ReasonUnreached)
	}
}

func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// readAll reads until the end and returns its reason.
func (s *session) readAll() error {
	for {
		text, b, err := s.socket.Read()
		if err != nil {
			return lost(err)
		}
		s.heard.Store(int64(time.Since(s.began)))
		if text {
			err = s.take(b)
		} else {
			err = s.takeFrame(b)
		}
		if err != nil {
			return err
		}
	}
}

// take deals with a text message. Its error ends the connection.
func (s *session) take(b []byte) error {
	m, err := hubwire.ParseMessage(b)
	if err != nil {
		return ErrMalformed
	}
	switch m.Type {
	case hubwire.TypePresence:
		s.client.presence(m)
	case hubwire.TypeDone:
		s.answer(m)
	case hubwire.TypeError:
		if m.ID == 0 {
			return asError(m)
		}
		s.answer(m)
	}
	return nil // a challenge now, or a type of a later version, is nobody's
}

func (s *session) answer(m hubwire.Message) {
	s.mu.Lock()
	waiting := s.requests[m.ID]
	delete(s.requests, m.ID)
	// A hub must not fill the log with refusals of what was never asked.
	news := waiting == nil && m.Type == hubwire.TypeError && m.ID > s.refused && m.ID <= s.last
	if news {
		s.refused = m.ID
	}
	s.mu.Unlock()
	if waiting != nil {
		waiting <- m
	} else if news {
		s.client.log.Warn("the hub refuses", "hub", s.client.host, "error", asError(m))
	}
}

// request asks the hub for something and waits for its answer.
func (s *session) request(ctx context.Context, m hubwire.Message) error {
	answer := make(chan hubwire.Message, 1)
	s.mu.Lock()
	if len(s.requests) >= maxRequests {
		s.mu.Unlock()
		return ErrTooMany
	}
	s.last++
	m.ID = s.last
	s.requests[m.ID] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.requests, m.ID)
	}()
	s.put(m)
	select {
	case got := <-answer:
		if got.Type == hubwire.TypeError {
			return asError(got)
		}
		return nil
	case <-s.done:
		return hubLost(s.reason())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tell is request for one who does not wait for the answer.
func (s *session) tell(m hubwire.Message) {
	s.mu.Lock()
	s.last++
	m.ID = s.last
	s.mu.Unlock()
	s.put(m)
}

func (s *session) put(m hubwire.Message) {
	b, err := json.Marshal(m)
	if err != nil { // a subscription that is no JSON
		s.answer(hubwire.Message{Type: hubwire.TypeError, ID: m.ID, Code: hubwire.CodeMalformed, Message: "not JSON"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queueLocked(outgoing{true, b})
}

func (s *session) queueLocked(o outgoing) {
	if s.err != nil {
		return
	}
	s.queue = append(s.queue, o)
	s.queued += len(o.b)
	poke(s.work)
}

// writeAll writes what is queued until the end.
func (s *session) writeAll() {
	for {
		o, ok := s.next()
		if !ok {
			select {
			case <-s.work:
				continue
			case <-s.done:
				return
			}
		}
		s.writing.Store(max(1, int64(time.Since(s.began))))
		err := s.socket.Write(o.text, o.b)
		s.writing.Store(0)
		if err != nil {
			s.end(lost(err))
			return
		}
		s.wrote(len(o.b))
	}
}

func (s *session) next() (outgoing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return outgoing{}, false
	}
	o := s.queue[0]
	s.queue[0] = outgoing{}
	s.queue = s.queue[1:]
	return o, true
}

func (s *session) wrote(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.queued >= maxQueued
	s.queued -= n
	if full && s.queued < maxQueued {
		close(s.room)
		s.room = make(chan struct{})
	}
	if s.queued == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}

// keepAlive pings when the hub is quiet, or a sign of life is wanted, and ends
// the session when none comes, and when a write does not end.
func (s *session) keepAlive() {
	t := time.NewTimer(pingAfter)
	defer t.Stop()
	var watch watch
	for last := time.Now(); ; {
		probe := false
		select {
		case <-s.done:
			return
		case <-s.probe:
			probe = true
		case <-t.C:
		}
		now := time.Now()
		probe, last = probe || link.Slept(last, now), now
		left, ping := watch.look(now.Sub(s.began), time.Duration(s.heard.Load()), probe)
		if w := time.Duration(s.writing.Load()); w != 0 {
			left = min(left, writeTime-(now.Sub(s.began)-w))
		}
		if left <= 0 {
			s.end(ErrSilent)
			return
		}
		if ping {
			s.tell(hubwire.Message{Type: hubwire.TypePing})
		}
		t.Reset(left)
	}
}

// watch decides whether the hub is alive. Silence counts only from a ping on: a
// page in the background looks once in a minute, and may have slept without its
// clock.
type watch struct {
	pinged   time.Duration // when the ping was sent that is not answered yet; 0: none
	patience time.Duration // with it
	probed   time.Duration // when a sign of life was last wanted
}

// look returns how long the hub has left, or none, and whether to ping it.
func (w *watch) look(now, heard time.Duration, probe bool) (left time.Duration, ping bool) {
	if heard > w.pinged {
		w.pinged = 0
	}
	probe = probe && (w.probed == 0 || now-w.probed >= time.Second)
	if probe {
		w.probed = max(1, now)
	}
	if w.pinged == 0 && (probe || now-heard >= pingAfter) {
		w.pinged, w.patience, ping = max(1, now), deadAfter-pingAfter, true
	}
	if w.pinged == 0 {
		return pingAfter - (now - heard), false
	}
	if probe {
		w.patience = min(w.patience, now-w.pinged+probeTimeout)
	}
	return w.patience - (now - w.pinged), ping
}

// takeFrame deals with a binary message. Its error ends the connection.
func (s *session) takeFrame(b []byte) error {
	f, err := hubwire.ParseFrame(b)
	if err != nil {
		return ErrMalformed
	}
	id := streamID{f.Peer, f.Stream}
	s.mu.Lock()
	t := s.streams[id]
	s.mu.Unlock()
	switch {
	case f.Kind == hubwire.KindOpen && t == nil:
		s.takeOpen(id)
	case f.Kind == hubwire.KindData && t != nil:
		t.receive(f.Payload)
	case f.Kind == hubwire.KindData:
		s.refuse(id) // its other end does not know yet that it has ended
	case f.Kind == hubwire.KindClose && t != nil:
		t.remoteClosed(hubwire.Reason(f.Payload[0]))
	}
	return nil
}

// refuse tells the other device that there is no such stream, unless this
// device has more to say than the hub takes.
func (s *session) refuse(id streamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued < maxQueued {
		s.queueLocked(outgoing{b: closing(id)})
	}
}

func closing(id streamID) []byte {
	return hubwire.Frame{
		Kind: hubwire.KindClose, Peer: id.peer, Stream: id.number, Payload: []byte{byte(hubwire.ReasonClosed)},
	}.Append(nil)
}

// takeOpen takes a stream that another device opens, if anybody accepts them.
func (s *session) takeOpen(id streamID) {
	t := newStream(s, id, true)
	s.mu.Lock()
	ok := s.err == nil && s.inbound < MaxInbound && len(s.streams) < MaxStreams
	if ok {
		s.streams[id] = t
		s.inbound++
	}
	s.mu.Unlock()
	if !ok {
		s.refuse(id)
		return
	}
	if !s.client.offer(t) {
		_ = t.Close()
	}
}

// openStream opens a stream to a device; a token is nil or that of the peer's
// rendezvous.
func (s *session) openStream(peer device.ID, token []byte) (*stream, error) {
	t := newStream(s, streamID{peer, rand.Uint64()}, false) // which the hub knows anyway, so it need not be secret
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, hubLost(s.err)
	case len(s.streams) >= MaxStreams:
		return nil, ErrTooMany
	}
	s.streams[t.id] = t
	open := hubwire.Frame{Kind: hubwire.KindOpen, Peer: peer, Stream: t.id.number, Payload: slices.Clone(token)}
	s.queueLocked(outgoing{b: open.Append(nil)})
	return t, nil
}

// forget takes a stream out of the session; tell tells the other device.
func (s *session) forget(t *stream, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[t.id] != t {
		return
	}
	delete(s.streams, t.id)
	if t.inbound {
		s.inbound--
	}
	if tell {
		s.queueLocked(outgoing{b: closing(t.id)})
	}
}
