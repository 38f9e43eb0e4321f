package relay

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// stream is a byte stream to another device through the hub: a net.Conn.
type stream struct {
	session *session
	id      streamID
	inbound bool
	ready   chan struct{} // of capacity 1: something to read, or the end
	gone    chan struct{} // closed at the end
	read    deadline
	write   deadline
	pieces  sync.Mutex // keeps the pieces of one Write together

	// mu guards what follows.
	mu     sync.Mutex
	unread []byte
	err    error // why it ended, for Read after the last byte, and for Write
	closed bool  // by this side: what was not read is dropped
}

func newStream(s *session, id streamID, inbound bool) *stream {
	return &stream{session: s, id: id, inbound: inbound, ready: make(chan struct{}, 1), gone: make(chan struct{})}
}

// receive takes what came from the hub.
func (t *stream) receive(b []byte) {
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return
	}
	if all := t.session.unread.Add(int64(len(b))); len(t.unread)+len(b) > maxUnread || all > maxUnreadAll {
		t.session.unread.Add(-int64(len(b)))
		t.mu.Unlock()
		t.fail(ErrOverflow)
		t.session.forget(t, true)
		return
	}
	t.unread = append(t.unread, b...)
	t.mu.Unlock()
	poke(t.ready)
}

// remoteClosed ends the stream because the other device or the hub did. What
// has come before can still be read.
func (t *stream) remoteClosed(r hubwire.Reason) {
	t.session.forget(t, false)
	if r == hubwire.ReasonClosed {
		t.fail(io.EOF)
	} else {
		t.fail(&Refused{r})
	}
	t.session.client.reopenRendezvous(t)
}

// Refused is why the hub ended a stream.
type Refused struct{ Reason hubwire.Reason }

// Error implements error.
func (r *Refused) Error() string { return "hub: " + r.Reason.String() }

// fail ends the stream for a reason, of which the first stays.
func (t *stream) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
		close(t.gone)
	}
	poke(t.ready)
}

// Close implements net.Conn. What was written is still sent.
func (t *stream) Close() error {
	t.fail(net.ErrClosed)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return net.ErrClosed
	}
	t.closed = true
	t.session.unread.Add(-int64(len(t.unread)))
	t.unread = nil
	t.mu.Unlock()
	t.session.forget(t, true)
	t.session.client.reopenRendezvous(t)
	return nil
}

// Read implements net.Conn.
func (t *stream) Read(b []byte) (int, error) {
	for {
		if t.read.passed() {
			return 0, t.opError("read", os.ErrDeadlineExceeded)
		}
		n, more, err := t.take(b)
		if more {
			poke(t.ready) // for another reader
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		t.read.wait(t.ready, nil)
	}
}

// take moves what has come to b. Without anything it returns why nothing will.
func (t *stream) take(b []byte) (n int, more bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, true, t.opError("read", net.ErrClosed)
	}
	n = copy(b, t.unread)
	if t.unread = t.unread[n:]; len(t.unread) == 0 {
		t.unread = nil // an idle stream keeps no memory
	}
	t.session.unread.Add(-int64(n))
	if n == 0 && t.err != nil {
		if err = t.err; err != io.EOF {
			err = t.opError("read", err)
		}
	}
	return n, len(t.unread) > 0 || t.err != nil, err
}

// Write implements net.Conn. It waits while the hub takes less than what the
// device has to say.
func (t *stream) Write(b []byte) (int, error) {
	t.pieces.Lock()
	defer t.pieces.Unlock()
	n := 0
	for n < len(b) {
		piece := b[n:min(n+hubwire.MaxData, len(b))]
		if err := t.send(piece); err != nil {
			return n, t.opError("write", err)
		}
		n += len(piece)
	}
	return n, nil
}

func (t *stream) send(piece []byte) error {
	s := t.session
	for {
		if t.write.passed() {
			return os.ErrDeadlineExceeded
		}
		if err := t.ended(); err != nil {
			return err
		}
		s.mu.Lock()
		if s.queued < maxQueued || s.err != nil {
			f := hubwire.Frame{Kind: hubwire.KindData, Peer: t.id.peer, Stream: t.id.number, Payload: piece}
			s.queueLocked(outgoing{b: f.Append(make([]byte, 0, hubwire.HeaderSize+len(piece)))})
			s.mu.Unlock()
			return nil
		}
		room := s.room
		s.mu.Unlock()
		t.write.wait(room, t.gone)
	}
}

func (t *stream) ended() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == io.EOF { // remoteClosed's own
		return io.ErrClosedPipe
	}
	return t.err
}

func (t *stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "hub", Addr: t.RemoteAddr(), Err: err}
}

// SetDeadline implements net.Conn.
func (t *stream) SetDeadline(at time.Time) error {
	t.read.set(at)
	t.write.set(at)
	return nil
}

// SetReadDeadline implements net.Conn.
func (t *stream) SetReadDeadline(at time.Time) error { t.read.set(at); return nil }

// SetWriteDeadline implements net.Conn.
func (t *stream) SetWriteDeadline(at time.Time) error { t.write.set(at); return nil }

// LocalAddr implements net.Conn.
func (t *stream) LocalAddr() net.Addr {
	return address{t.session.client, t.session.client.key.ID()}
}

// RemoteAddr implements net.Conn: network "hub", HOST[:PORT]/DEVICE. The device
// is whom the hub names, and nobody has proved that yet.
func (t *stream) RemoteAddr() net.Addr { return address{t.session.client, t.id.peer} }

type address struct {
	hub *Client
	id  device.ID
}

func (address) Network() string  { return "hub" }
func (a address) String() string { return a.hub.host + "/" + a.id.String() }

// Route is the route to the device, whichever side has opened the stream.
func (a address) Route() string { return Route(a.hub.origin) }

// deadline is until when one direction of a stream may wait. It costs a timer
// only while somebody waits.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // closed by set; nil if nobody has waited since
}

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait returns when there is a reason to look again: one of the channels, or
// the deadline has passed or is another.
func (d *deadline) wait(ready, gone <-chan struct{}) {
	d.mu.Lock()
	at := d.at
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	changed := d.changed
	d.mu.Unlock()
	var late <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ready:
	case <-gone:
	case <-changed:
	case <-late:
	}
}
