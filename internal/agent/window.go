package agent

import (
	"context"
	"sync"
	"time"

	"vmux/internal/wire"
)

const (
	// ringSlack is by how much longer the window of a phone is that had to be
	// rung: phones that save power show a push up to a minute late.
	ringSlack = 40 * time.Second
	// lookAtWindow is how often the wall clock is compared with a window's end.
	lookAtWindow = time.Second
)

// window is until when a person can answer a request. It begins anew when a
// phone was rung, which the person hears only then.
type window struct {
	changed chan struct{} // of capacity 1: something below has

	mu      sync.Mutex
	end     time.Time // by the wall clock
	length  time.Duration
	tried   bool // that a phone be rung
	rung    bool
	pending int // phones that may be rung still
}

func newWindow(now time.Time, length time.Duration) *window {
	return &window{changed: make(chan struct{}, 1), end: now.Add(length).Round(0), length: length}
}

// until returns the window's end.
func (w *window) until() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// lasted returns how long the window is.
func (w *window) lasted() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.length
}

// tries tells that so many phones are about to be rung; done is called for each.
func (w *window) tries(phones int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.tried = phones, phones > 0
}

func (w *window) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending--
	w.tellLocked()
}

// ring begins the window anew: a phone was rung.
func (w *window) ring(now time.Time, usual time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	length := min(usual+ringSlack, wire.MaxWindow)
	if end := now.Add(length).Round(0); end.After(w.end) {
		w.end, w.length = end, length
	}
	w.rung = true
	w.tellLocked()
}

func (w *window) tellLocked() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// waits reports whether a phone may come late: it was rung, or may be rung still.
func (w *window) waits() (rung, pending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rung, w.pending > 0
}

// waitsForRung reports whether a phone was rung, whose window another one's does not end.
func (w *window) waitsForRung() bool {
	rung, _ := w.waits()
	return rung
}

// rings reports whether a phone was to be rung, and whether one was.
func (w *window) rings() (tried, rung bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tried, w.rung
}

// untilWall ends at the window's end by the wall clock, by which the phone and
// the status count as well. A deadline alone counts the time that this machine is
// awake: after a suspend the window would be open for longer.
func untilWall(ctx context.Context, w *window) (context.Context, context.CancelFunc) {
	ctx, ended := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			left := time.Until(w.until()) // without a monotonic reading
			if left <= 0 {
				ended(context.DeadlineExceeded)
				return
			}
			look := time.NewTimer(min(left, lookAtWindow))
			select {
			case <-ctx.Done():
				look.Stop()
				return
			case <-look.C:
			}
		}
	}()
	return ctx, func() { ended(nil); <-watched }
}
