package link

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"vmux/internal/wire"
)

const (
	// maxKept bounds the finished answers that are kept for one peer.
	maxKept = 64
	// keepFor is how long: a request's window, and time to reconnect.
	keepFor = wire.MaxWindow + 20*time.Second
)

// serving is a peer's request from its arrival until its answer is known to be
// of no more use. Guarded by Node.mu.
type serving struct {
	id       string
	digest   [sha256.Size]byte
	session  *session // that brought it last, or is written the answer
	cancel   context.CancelCauseFunc
	received bool // told that it is shown
	answer   []byte
	done     bool
	finished time.Time
}

var errCancelled = errors.New("withdrawn by the other device")

// request starts serving, or joins what is being served already: a peer that
// lost its link sends what waits for an answer again on the next. On one and
// the same link it has no reason to, and Handler.Serve, which keeps the replay
// guard, has to judge.
func (n *Node) request(s *session, e wire.Envelope) error {
	digest := digestOf(e)
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.unpaired { // and about to be closed
		return nil
	}
	p := s.owner
	v := p.serving[e.ID]
	if v != nil && v.digest == digest && v.session.serial < s.serial {
		v.session = s
		return v.catchUpLocked()
	}
	if p.requests >= MaxRequests {
		return s.send(e.ID, wire.KindError, wire.NewError(wire.CodeSignerBusy))
	}
	if n.closed {
		return ErrNodeClosed
	}
	p.requests++
	ctx, cancel := context.WithCancelCause(n.ctx)
	fresh := &serving{id: e.ID, digest: digest, session: s, cancel: cancel}
	if v == nil {
		p.makeRoomLocked()
		p.serving[e.ID] = fresh
	}
	req := &Request{From: s.peer, Envelope: e, received: func() { n.tellReceived(fresh) }}
	n.wg.Go(func() { n.serveRequest(ctx, p, fresh, req) })
	return nil
}

// digestOf tells a request that is sent again from another under its ID: a peer
// that mixed up its own would get the answer to the first one twice.
func digestOf(e wire.Envelope) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(string(e.Kind)+"\x00"), e.Body...))
}

// catchUpLocked tells the new link what was told, or would have been, on the
// old one.
func (v *serving) catchUpLocked() error {
	switch {
	case v.done && v.answer != nil:
		return v.session.write(v.answer)
	case v.received:
		return v.session.send(v.id, wire.KindReceived, wire.Received{RequestID: v.id})
	}
	return nil
}

func (n *Node) serveRequest(ctx context.Context, p *peer, v *serving, req *Request) {
	defer v.cancel(nil)
	e := req.Envelope
	kind, body := n.handler.Serve(ctx, req)
	var frame []byte
	if kind != "" {
		frame = n.answerFrame(e.ID, kind, body)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p.requests--
	v.done, v.finished = true, time.Now()
	switch {
	case repeats(e.Kind):
		v.answer = frame
	case p.serving[v.id] == v:
		delete(p.serving, v.id)
	}
	if ctx.Err() != nil {
		return // the peer does not want to know any more, or may not
	}
	// Not p.session: if that is another link, the peer is about to send the
	// request on it, and gets the answer then.
	if frame != nil {
		_ = v.session.write(frame)
	}
}

// answerFrame encodes an answer, or that it cannot be encoded.
func (n *Node) answerFrame(id string, kind wire.Kind, body any) []byte {
	frame, err := wire.NewFrame(id, kind, body)
	if err != nil {
		n.log.Error("encoding an answer", "request", id, "error", err)
		frame, _ = wire.NewFrame(id, wire.KindError, wire.NewError(wire.CodeInternalError)) // never too large
	}
	return frame
}

// repeats reports whether serving a request a second time would be refused, so
// that its answer has to be kept for a peer that missed it.
func repeats(k wire.Kind) bool { return k == wire.KindSignRequest || k == wire.KindCertificateRequest }

func (n *Node) tellReceived(v *serving) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v.received || v.done {
		return
	}
	v.received = true
	_ = v.session.send(v.id, wire.KindReceived, wire.Received{RequestID: v.id})
}

func (n *Node) cancelled(p *peer, e wire.Envelope) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v := p.serving[e.ID]; v != nil {
		v.cancel(errCancelled)
	}
}

// makeRoomLocked drops finished answers that are too old or too many.
func (p *peer) makeRoomLocked() {
	kept := 0
	var oldest *serving
	for id, v := range p.serving {
		switch {
		case !v.done:
		case time.Since(v.finished) > keepFor:
			delete(p.serving, id)
		default:
			if kept++; oldest == nil || v.finished.Before(oldest.finished) {
				oldest = v
			}
		}
	}
	if kept >= maxKept {
		delete(p.serving, oldest.id)
	}
}
