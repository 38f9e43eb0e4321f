package sshagent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// bufferSize holds any message of an ordinary login. A larger one has memory of its
// own.
const bufferSize = 2 << 10

// client is one connection. Its goroutine owns all fields.
type client struct {
	server  *Server
	conn    net.Conn
	id      uint64
	peer    Peer
	refused bool                        // all its messages fail
	taken   func(Connection) Connection // of Config.Taken

	r        *bufio.Reader
	writeBy  time.Time // the connection's write deadline
	bindings []sshctx.Binding
	unproven bool     // see Connection.Unproven
	passedBy []byte   // see Connection.PassedBy
	listed   *Listing // the last one answered
}

// connection is what the backend is told. Bindings that come later are not seen
// through it.
func (c *client) connection() Connection {
	return c.taken(Connection{ID: c.id, Peer: c.peer, Bindings: slices.Clip(c.bindings), Listed: c.listed, Unproven: c.unproven, PassedBy: c.passedBy})
}

func (c *client) serve(ctx context.Context) {
	c.r = bufio.NewReaderSize(c.conn, bufferSize)
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
	}
}

// next returns the next message, which is valid until the following read. A
// length over MaxFrame is errMalformed and ends the connection: what follows
// cannot be told apart from a message. Only a message that has begun has a
// deadline, one for all of it: a client that sends it in pieces does not get a
// new one with each.
func (c *client) next() ([]byte, error) {
	if _, err := c.r.Peek(1); err != nil {
		return nil, err
	}
	c.conn.SetReadDeadline(time.Now().Add(c.server.cfg.FrameTimeout))
	defer c.conn.SetReadDeadline(time.Time{})
	header, err := c.r.Peek(headerSize)
	if err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header)
	if length > MaxFrame {
		return nil, errMalformed
	}
	var frame []byte
	if n := headerSize + int(length); n > c.r.Size() {
		frame = make([]byte, n)
		_, err = io.ReadFull(c.r, frame)
	} else if frame, err = c.r.Peek(n); err == nil {
		c.r.Discard(n)
	}
	return frame[headerSize:], err
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
// connection without an answer. Adding keys is not read here, like any message
// not named: this agent holds none, but another one may.
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
		list := s.cfg.Backend.Listing(ctx, c.connection())
		if s.lock.locked() { // meanwhile
			return emptyListing.frame, nil
		}
		c.listed = list
		return list.frame, nil
	case msgSignRequest:
		return c.sign(ctx, msg)
	case msgRemoveAll:
		if s.lock.locked() || len(msg) != 1 || !c.manages("empty") {
			return failureFrame, nil
		}
		s.cfg.Backend.RemoveAll()
		if s.cfg.PassOn == nil {
			return successFrame, nil
		}
		return c.passOn(ctx, "remove all keys", msg)
	case msgRemove:
		return c.remove(ctx, msg)
	case msgLock, msgUnlock:
		return c.lockOrUnlock(ctx, msg)
	case msgExtension:
		return c.extension(ctx, msg)
	case msgAdd, msgAddConstrained, msgAddSmartcard, msgAddSmartcardConst: // nobody is told what was sent
		if s.cfg.PassOn == nil || !s.cfg.MayPassOn(c.connection()) {
			s.cfg.AddRefused(c.connection(), msg[0] == msgAddSmartcard || msg[0] == msgAddSmartcardConst)
			return failureFrame, nil
		}
		return c.passOn(ctx, "add that key", msg)
	}
	return c.passOn(ctx, "", msg)
}

func (c *client) remove(ctx context.Context, msg []byte) ([]byte, error) {
	s := c.server
	var r removeRequest
	if ssh.Unmarshal(msg, &r) != nil || s.lock.locked() || !c.manages("empty") {
		return failureFrame, nil
	}
	if s.cfg.Backend.Remove(r.Blob) {
		return successFrame, nil
	}
	blob := bytes.Clone(r.Blob) // what is passed on is wiped
	frame, err := c.passOn(ctx, "", msg)
	if err == nil && frame[headerSize] == msgFailure {
		s.cfg.RemoveRefused(blob)
	}
	return frame, err
}

// passOn has the other agent answer, if there is one and who asks may reach it: a host
// that this agent is forwarded to can have keys listed and signatures made, as far as the
// backend allows, and nothing else. What it sent for ssh-add to load would run here.
func (c *client) passOn(ctx context.Context, what string, msg []byte) ([]byte, error) {
	if c.server.cfg.PassOn == nil || c.server.lock.locked() || !c.reachesOther() {
		return failureFrame, nil
	}
	return c.askOther(ctx, what, msg)
}

func (c *client) askOther(ctx context.Context, what string, msg []byte) ([]byte, error) {
	from := c.connection()
	answer, err := c.wait(ctx, func(ctx context.Context) ([]byte, error) {
		return c.server.cfg.PassOn(ctx, from, what, msg)
	})
	clear(msg) // it may hold a private key, a PIN or a passphrase
	switch {
	case errors.Is(err, errGone):
		return nil, err
	case err != nil:
		return failureFrame, nil
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...), nil
}

func (c *client) manages(what string) bool {
	ok := c.server.cfg.MayManage(c.connection())
	if !ok {
		c.server.cfg.Log.Warn("request refused: it may come from another host", "to", what, "pid", c.peer.PID)
	}
	return ok
}

// reachesOther says in the log what is refused: some program of this computer's own may
// have sent it.
func (c *client) reachesOther() bool {
	ok := c.server.cfg.MayPassOn(c.connection())
	if !ok {
		c.server.cfg.Log.Warn("message not passed on: only ssh-add and programs like it reach the other agent", "pid", c.peer.PID)
	}
	return ok
}

func (c *client) lockOrUnlock(ctx context.Context, msg []byte) ([]byte, error) {
	var r lockRequest
	if ssh.Unmarshal(msg, &r) != nil || !c.manages("lock or unlock") {
		return failureFrame, nil
	}
	was, done, what := c.server.lock.locked(), false, ""
	if msg[0] == msgLock {
		done, what = c.server.lock.lock(r.Passphrase), "lock itself"
	} else {
		done = c.server.lock.unlock(ctx, r.Passphrase)
	}
	if done {
		c.server.cfg.Locked(c.server.lock.locked())
	}
	// The other agent gets no guesses, but may have been locked by itself.
	frame, err := failureFrame, error(nil)
	if c.server.cfg.PassOn != nil && (done || !was) && c.reachesOther() {
		frame, err = c.askOther(ctx, what, msg)
	}
	clear(r.Passphrase)
	if done && err == nil {
		return successFrame, nil
	}
	return frame, err
}

func (c *client) sign(ctx context.Context, msg []byte) ([]byte, error) {
	s := c.server
	var r signRequest
	if ssh.Unmarshal(msg, &r) != nil || s.lock.locked() {
		return failureFrame, nil
	}
	if !c.unproven {
		signature, ok, err := s.cfg.Backend.SignLocal(c.connection(), r.Blob, r.Data, r.Flags)
		if err != nil {
			return failureFrame, nil
		}
		if ok {
			return signResponse(signature), nil
		}
	}
	asked := SignRequest{
		Connection: c.connection(),
		Blob:       bytes.Clone(r.Blob), // the backend may keep them
		Data:       bytes.Clone(r.Data),
		Flags:      r.Flags,
	}
	signature, err := c.wait(ctx, func(ctx context.Context) ([]byte, error) { return s.cfg.Backend.Sign(ctx, asked) })
	if errors.Is(err, errGone) {
		return nil, err
	}
	if err != nil || s.lock.locked() {
		return failureFrame, nil
	}
	return signResponse(signature), nil
}

// errGone tells that the client went away while its request was waiting.
var errGone = errors.New("client went away")

// wait has the client's request answered in another goroutine, and learns meanwhile
// when the client goes. What it sends is not read until it is answered.
func (c *client) wait(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var answer []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err = ask(ctx)
	}()
	gone, stop := onHangup(c.conn)
	defer stop()
	select {
	case <-done:
		return answer, err
	case <-gone:
		cancel()
		<-done
		return nil, errGone
	}
}
