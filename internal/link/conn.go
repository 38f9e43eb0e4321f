package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/wire"
)

// chunk is what a frame's announcement alone allocates.
const chunk = 8 << 10

// conn carries envelopes over a byte stream. One goroutine reads; any may
// write. Writing never blocks: frames join a bounded queue, which a goroutine
// sends with as few writes as it can. It starts with the first frame and ends
// when the connection is closed.
type conn struct {
	net.Conn
	r     *bufio.Reader
	began time.Time
	heard atomic.Int64 // when bytes last came, as time since began

	// Owned by who takes the connection to a link.
	said    uint64 // Node.hellos when hello was said
	settled func() // to be called when it has become one, or will not

	written chan struct{} // closed when the writing goroutine has ended

	mu      sync.Mutex
	queue   []byte
	writing bool // the goroutine has been started
	busy    bool // it writes what it has taken from the queue
	work    *sync.Cond
	drained *sync.Cond // see flush
	leaving error      // why it is about to be closed: see closeAfter
	err     error      // why the connection was closed
}

func newConn(c net.Conn) *conn {
	l := &conn{Conn: c, began: time.Now(), written: make(chan struct{})}
	l.work, l.drained = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	l.r = bufio.NewReaderSize(hearing{l}, 4<<10)
	return l
}

// hearing notes each arrival: a peer that sends a large frame slowly is alive.
type hearing struct{ l *conn }

func (h hearing) Read(b []byte) (int, error) {
	n, err := h.l.Conn.Read(b)
	if n > 0 {
		h.l.heard.Store(int64(time.Since(h.l.began)))
	}
	return n, err
}

// quiet returns for how long nothing has come.
func (l *conn) quiet() time.Duration {
	return time.Since(l.began) - time.Duration(l.heard.Load())
}

// read returns the next envelope. A frame over limit, or one that is no
// envelope, gives ErrMalformed; the connection is of no use after any error.
func (l *conn) read(limit int) (wire.Envelope, error) {
	b, err := readFrame(l.r, limit)
	if err != nil {
		return wire.Envelope{}, err
	}
	e, err := wire.DecodeEnvelope(b)
	if err != nil {
		return wire.Envelope{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, nil
}

// readFrame reads a length and that many bytes. What it allocates grows with
// what has come, not with what was announced.
func readFrame(r *bufio.Reader, limit int) ([]byte, error) {
	prefix, err := r.Peek(wire.LengthPrefixSize)
	if err != nil {
		if len(prefix) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n, err := wire.FrameSize([wire.LengthPrefixSize]byte(prefix))
	_, _ = r.Discard(len(prefix))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, %d allowed", ErrMalformed, n, limit)
	}
	b := make([]byte, min(n, chunk))
	for have := 0; ; {
		if _, err := io.ReadFull(r, b[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have = len(b); have == n {
			return b, nil
		}
		b = append(b, make([]byte, min(n-have, have))...)
	}
}

// send queues one envelope.
func (l *conn) send(id string, kind wire.Kind, body any) error {
	frame, err := wire.NewFrame(id, kind, body)
	if err != nil {
		return err
	}
	return l.write(frame)
}

// write queues one frame. A peer that leaves more unread than the queue holds
// loses the connection.
func (l *conn) write(frame []byte) error {
	l.mu.Lock()
	if l.err == nil && len(l.queue)+len(frame) > maxQueued {
		l.mu.Unlock()
		l.close(ErrSlowPeer)
		return ErrSlowPeer
	}
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.queue = append(l.queue, frame...)
	if !l.writing {
		l.writing = true
		go l.writeQueued()
	}
	l.work.Signal()
	return nil
}

// writeQueued writes what is queued until the connection is closed.
func (l *conn) writeQueued() {
	defer close(l.written)
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.queue) == 0 && l.err == nil {
			l.work.Wait()
		}
		if l.err != nil {
			return
		}
		b := l.queue
		l.queue, l.busy = nil, true
		l.mu.Unlock()
		_ = l.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := l.Write(b); err != nil {
			l.close(writeReason(err))
		}
		l.mu.Lock()
		l.busy = false
		l.drained.Broadcast()
	}
}

// flush waits until what is queued is written, the connection is closed, or ctx ends.
func (l *conn) flush(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drained.Broadcast()
	})()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && (len(l.queue) > 0 || l.busy) && ctx.Err() == nil {
		l.drained.Wait()
	}
}

func writeReason(err error) error {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return ErrSlowPeer
	}
	return fmt.Errorf("%w: %w", ErrConnection, err)
}

// close ends the connection for a reason; the first one stays. What is queued
// is dropped.
func (l *conn) close(reason error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if l.leaving != nil {
		reason = l.leaving
	}
	l.err = reason
	l.work.Signal()
	l.drained.Broadcast()
	l.mu.Unlock()
	if t, ok := l.Conn.(*tls.Conn); ok && abrupt(reason) {
		_ = t.NetConn().Close()
		return
	}
	_ = l.Conn.Close()
}

// abrupt reports whether the TLS closing alert is left out, for writing it to a
// peer that does not read would take seconds.
func abrupt(reason error) bool {
	return errors.Is(reason, ErrDead) || errors.Is(reason, ErrSlowPeer) ||
		errors.Is(reason, ErrReplaced) || errors.Is(reason, ErrConnection)
}

// reason returns why the connection was closed, nil if it is not.
func (l *conn) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// wait returns when a closed connection's goroutine has ended, which each write's
// deadline sees to.
func (l *conn) wait() {
	l.mu.Lock()
	writing := l.writing
	l.mu.Unlock()
	if writing {
		<-l.written
	}
}

// closeAfter tells the peer why the link ends. The peer closes when it has read
// that; until then, and not longer than closeTimeout, whoever reads goes on doing so
// and drops what comes, for a reset would take the word away from the peer.
func (l *conn) closeAfter(e *wire.Error, reason error) {
	if err := l.send(linkID, wire.KindError, e); err != nil {
		l.close(reason)
		return
	}
	l.mu.Lock()
	if l.leaving == nil {
		l.leaving = reason
	}
	l.mu.Unlock()
	_ = l.SetReadDeadline(time.Now().Add(closeTimeout))
}

// refuse is closeAfter where nobody reads: it reads itself, and closes.
func (l *conn) refuse(e *wire.Error) error {
	l.closeAfter(e, e)
	_, _ = io.CopyN(io.Discard, l.r, wire.MaxEnvelopeSize)
	l.close(e)
	return e
}

// isLeaving reports whether closeAfter was called.
func (l *conn) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving != nil
}

// readReason names a failed read for people.
func readReason(err error) error {
	n, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, ErrMalformed):
		return err
	case errors.Is(err, io.EOF):
		return ErrPeerClosed
	case ok && n.Timeout():
		return ErrHandshakeTime
	}
	return fmt.Errorf("%w: %w", ErrConnection, err)
}
