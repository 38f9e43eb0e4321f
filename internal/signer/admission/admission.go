// Package admission decides whether a request may be looked at: whether it is its sender's
// own, in its window and new, and whether too many wait already. It knows nothing of what
// is asked for.
package admission

import (
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Limits of requests that wait for the person. One computer may well have thirty
// logins at once (ansible -f 30), and a second one must not be shut out by them.
const (
	maxWaiting        = 96
	maxWaitingPerPeer = 48
)

// ClockPrefix begins what a computer is told whose clock differs.
const ClockPrefix = "Clocks differ "

// Gate admits requests. Safe for concurrent use; the zero value is ready.
type Gate struct {
	replay replayGuard
	queue  queue
}

// queue counts the requests that wait for the person.
type queue struct {
	mu      sync.Mutex
	total   int
	perPeer map[device.ID]int
}

func (q *queue) enter(id device.ID) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= maxWaiting || q.perPeer[id] >= maxWaitingPerPeer {
		return nil, wire.NewError(wire.CodeSignerBusy)
	}
	if q.perPeer == nil {
		q.perPeer = map[device.ID]int{}
	}
	q.total++
	q.perPeer[id]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.total--
		if q.perPeer[id]--; q.perPeer[id] == 0 {
			delete(q.perPeer, id)
		}
	}, nil
}

// Others is how many requests wait beside one.
func (g *Gate) Others() int {
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	return g.queue.total - 1
}

// Admit decides whether a request may be looked at, and until when it may wait.
// The caller leaves the queue.
func (g *Gate) Admit(from device.Peer, e wire.Envelope, a *wire.Asking, now time.Time) (until time.Time, leave func(), err error) {
	if e.ID != a.RequestID {
		return until, nil, wire.Errorf(wire.CodeMalformedRequest, "the envelope's id is not the requestID")
	}
	if a.SourceDeviceID != from.ID.String() {
		return until, nil, wire.Errorf(wire.CodePairingInvalid, "the request names another computer than the one that sent it")
	}
	if until, err = window(a, now); err != nil {
		return until, nil, err
	}
	if leave, err = g.queue.enter(from.ID); err != nil {
		return until, nil, err
	}
	if err = g.replay.check(from.ID, a, now); err != nil {
		leave()
		return until, nil, err
	}
	return until, leave, nil
}

// window returns the end of the request's window on this phone's clock: at most
// its length (and wire.MaxWindow) from now, less by what has passed of it. A
// request from outside its window is refused: either it was held back, or the
// clocks differ by more than the window. Which of the two cannot be told apart
// from here, and a hub that holds requests back must not gain by it.
func window(a *wire.Asking, now time.Time) (time.Time, error) {
	span := a.ExpiresAtMilliseconds - a.IssuedAtMilliseconds
	if span <= 0 { // also where the difference does not fit 64 bits
		return time.Time{}, wire.Errorf(wire.CodeMalformedRequest, "the request's window is not one")
	}
	length := time.Duration(min(span, wire.MaxWindow.Milliseconds())) * time.Millisecond
	age := now.Sub(time.UnixMilli(a.IssuedAtMilliseconds)) // saturates
	if age >= length || age <= -length {
		return time.Time{}, wire.Errorf(wire.CodeRequestExpired, ClockPrefix+"by %d s.", int64(age.Abs().Seconds()))
	}
	return now.Add(min(length-age, length)).Round(0), nil // by the wall clock: the other one stops during a suspend
}
