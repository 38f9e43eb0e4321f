package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"vmux/internal/sshctx"
)

// smallBuffer holds all messages of an ordinary login. A connection gives back
// what a larger message took.
const smallBuffer = 2 << 10

// client is one connection. Its goroutine owns all fields.
type client struct {
	server  *Server
	conn    net.Conn
	id      uint64
	peer    Peer
	refused bool // all its messages fail

	buf   []byte // buf[start:end] is read and not yet handled
	start int
	end   int
	reply []byte

	writeBy  time.Time // the connection's write deadline
	frameBy  time.Time // when the message that has begun must be here; zero: none has
	bindings []sshctx.Binding
	unproven bool     // see Connection.Unproven
	listed   *Listing // the last one answered
}

// connection is what the backend is told. Bindings that come later are not seen
// through it.
func (c *client) connection() Connection {
	return Connection{ID: c.id, Peer: c.peer, Bindings: slices.Clip(c.bindings), Listed: c.listed, Unproven: c.unproven}
}

func (c *client) serve(ctx context.Context) {
	c.buf = make([]byte, smallBuffer)
	for ctx.Err() == nil {
		msg, err := c.next()
		if errors.Is(err, errMalformed) {
			c.write(failureFrame)
		}
		if err != nil {
			return
		}
		frame, err := c.handle(ctx, msg)
		if err != nil || c.write(frame) != nil {
			return
		}
		c.shrink()
	}
}

// next returns the next message, which is valid until the following read. A
// length over MaxFrame is errMalformed and ends the connection: what follows
// cannot be told apart from a message.
func (c *client) next() ([]byte, error) {
	defer c.normalise()
	c.frameBy = time.Time{}
	if err := c.fill(headerSize); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(c.buf[c.start:])
	if length > MaxFrame {
		return nil, errMalformed
	}
	n := int(length)
	if err := c.fill(headerSize + n); err != nil {
		return nil, err
	}
	msg := c.buf[c.start+headerSize : c.start+headerSize+n]
	c.start += headerSize + n
	return msg, nil
}

// normalise makes room at the front once everything read was handled; the
// message just returned stays where it is until the next read.
func (c *client) normalise() {
	if c.start == c.end {
		c.start, c.end = 0, 0
	}
}

// fill reads until n bytes are at hand. Only a message that has begun has a
// deadline, one for all of it: a client that sends it in pieces does not get a
// new one with each.
func (c *client) fill(n int) error {
	if c.end-c.start >= n {
		return nil
	}
	c.room(n)
	deadline := false
	defer func() {
		if deadline {
			c.conn.SetReadDeadline(time.Time{})
		}
	}()
	for c.end-c.start < n {
		if c.end > c.start && !deadline {
			if c.frameBy.IsZero() {
				c.frameBy = time.Now().Add(c.server.cfg.FrameTimeout)
			}
			c.conn.SetReadDeadline(c.frameBy)
			deadline = true
		}
		read, err := c.conn.Read(c.buf[c.end:])
		c.end += read
		if err != nil && c.end-c.start < n {
			return err
		}
	}
	return nil
}

// room makes the buffer hold n bytes from start on.
func (c *client) room(n int) {
	if c.start+n <= len(c.buf) {
		return
	}
	buf := c.buf
	if n > len(buf) {
		buf = make([]byte, n)
	}
	c.end = copy(buf, c.buf[c.start:c.end])
	c.start, c.buf = 0, buf
}

func (c *client) shrink() {
	if len(c.buf) > smallBuffer && c.end-c.start <= smallBuffer {
		buf := make([]byte, smallBuffer)
		c.end = copy(buf, c.buf[c.start:c.end])
		c.start, c.buf = 0, buf
	}
	if cap(c.reply) > smallBuffer {
		c.reply = nil
	}
}

// write gives the client between one and two WriteTimeouts: to set the
// deadline anew for each answer would cost as much as the answer itself.
func (c *client) write(frame []byte) error {
	timeout := c.server.cfg.WriteTimeout
	if now := time.Now(); c.writeBy.Sub(now) < timeout {
		c.writeBy = now.Add(2 * timeout)
		c.conn.SetWriteDeadline(c.writeBy)
	}
	_, err := c.conn.Write(frame)
	return err
}

// handle returns the frame that answers a message. An error ends the
// connection without an answer. Adding keys is refused unread, like any message
// not named here: this agent holds none.
func (c *client) handle(ctx context.Context, msg []byte) ([]byte, error) {
	if len(msg) == 0 || c.refused {
		return failureFrame, nil
	}
	s := c.server
	switch msg[0] {
	case msgRequestIdentities:
		if len(msg) != 1 {
			return failureFrame, nil
		}
		if s.lock.locked() {
			return emptyListing.frame, nil
		}
		c.listed = s.cfg.Backend.Listing(c.connection())
		return c.listed.frame, nil
	case msgSignRequest:
		return c.sign(ctx, msg)
	case msgRemoveAll:
		if s.lock.locked() || len(msg) != 1 || !c.manages("empty") {
			return failureFrame, nil
		}
		s.cfg.Backend.RemoveAll()
		return successFrame, nil
	case msgRemove:
		blob, rest, ok := cutString(msg[1:])
		if !ok || len(rest) != 0 || s.lock.locked() || !c.manages("empty") || !s.cfg.Backend.Remove(blob) {
			return failureFrame, nil
		}
		return successFrame, nil
	case msgLock, msgUnlock:
		return c.lockOrUnlock(ctx, msg)
	case msgExtension:
		return c.extension(msg), nil
	case msgAdd, msgAddConstrained: // nobody is told what was sent
		s.cfg.AddRefused(c.connection(), false)
	case msgAddSmartcard, msgAddSmartcardConst:
		s.cfg.AddRefused(c.connection(), true)
	}
	return failureFrame, nil
}

func (c *client) manages(what string) bool {
	ok := c.server.cfg.MayManage(c.connection())
	if !ok {
		c.server.cfg.Log.Warn("request refused: it may come from another host", "to", what, "pid", c.peer.PID)
	}
	return ok
}

func (c *client) lockOrUnlock(ctx context.Context, msg []byte) ([]byte, error) {
	passphrase, rest, ok := cutString(msg[1:])
	if !ok || len(rest) != 0 || !c.manages("lock or unlock") {
		return failureFrame, nil
	}
	done := false
	if msg[0] == msgLock {
		done = c.server.lock.lock(passphrase)
	} else {
		done = c.server.lock.unlock(ctx, passphrase)
	}
	clear(passphrase)
	if done {
		c.server.cfg.Locked(c.server.lock.locked())
		return successFrame, nil
	}
	return failureFrame, nil
}

func (c *client) sign(ctx context.Context, msg []byte) ([]byte, error) {
	r, err := parseSignRequest(msg)
	if err != nil || c.server.lock.locked() {
		return failureFrame, nil
	}
	if !c.unproven {
		signature, ok, err := c.server.cfg.Backend.SignLocal(c.connection(), r.blob, r.data, r.flags)
		if err != nil {
			return failureFrame, nil
		}
		if ok {
			return c.signResponse(signature), nil
		}
	}
	signature, err := c.wait(ctx, SignRequest{
		Connection: c.connection(),
		Blob:       bytes.Clone(r.blob), // the buffer is read into meanwhile
		Data:       bytes.Clone(r.data),
		Flags:      r.flags,
	})
	if errors.Is(err, errGone) {
		return nil, err
	}
	if err != nil || c.server.lock.locked() {
		return failureFrame, nil
	}
	return c.signResponse(signature), nil
}

func (c *client) signResponse(signature []byte) []byte {
	c.reply = appendSignResponse(c.reply[:0], signature)
	return c.reply
}

// errGone tells that the client went away while its request was waiting.
var errGone = errors.New("client went away")

// past as a deadline ends a Read that is under way.
var past = time.Unix(1, 0)

// hangupPoll is how often a client whose messages fill the buffer is looked
// after. It is well below the second in which its request is to be withdrawn.
const hangupPoll = 200 * time.Millisecond

// wait lets the backend sign in another goroutine and goes on reading, since
// that is how a client's going away is noticed. What is read is kept for later;
// a client that sends more than the buffer holds is not read from until it is
// answered. The signer's goroutine wakes a blocked Read by a deadline in the
// past, after it has left its result.
func (c *client) wait(ctx context.Context, r SignRequest) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		signature []byte
		err       error
	}
	var answer result
	done := make(chan struct{})
	go func() {
		defer close(done)
		signature, err := c.server.cfg.Backend.Sign(ctx, r)
		answer = result{signature, err}
		c.conn.SetReadDeadline(past)
	}()
	err := c.readAhead(done)
	if err != nil {
		cancel()
	}
	<-done
	c.conn.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, errGone
	}
	return answer.signature, answer.err
}

// readAhead reads until the read deadline is set into the past, which is the
// last thing before done, and then returns nil; any other end of reading is an
// error. Once the buffer is full it only watches for the other end's closing.
func (c *client) readAhead(done <-chan struct{}) error {
	c.room(smallBuffer)
	for c.end < len(c.buf) {
		n, err := c.conn.Read(c.buf[c.end:])
		c.end += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	tick := time.NewTicker(hangupPoll)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
			if hungUp(c.conn) {
				return errGone
			}
		}
	}
}
