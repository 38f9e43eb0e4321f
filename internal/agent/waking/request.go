package waking

import (
	"context"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// pushDelay is by how much longer a person has whose phone had to be woken:
	// phones that save power show a push up to a minute late.
	pushDelay = 40 * time.Second
	// wallClockEvery is how often the wall clock is compared with a window's end.
	wallClockEvery = time.Second
)

// Request is one that waits for a person: which phones show it, and until when it
// can be answered. That window begins anew when a phone was woken, since its person
// hears of the request only then. It may be used concurrently.
type Request struct {
	id      string
	changed chan struct{} // of capacity 1: the window, or how many phones are pending

	mu      sync.Mutex
	end     time.Time // by the wall clock
	length  time.Duration
	shown   map[device.ID]bool
	tried   bool // that a phone be woken
	woken   bool
	pending int // phones that may be woken still
}

// NewRequest returns a request whose window begins now.
func NewRequest(id string, now time.Time, length time.Duration) *Request {
	return &Request{
		id: id, changed: make(chan struct{}, 1), end: now.Add(length).Round(0), length: length, shown: map[device.ID]bool{},
	}
}

// ID is the request's.
func (r *Request) ID() string { return r.id }

// Changed tells one receiver that Until, Woken or Pending have changed.
func (r *Request) Changed() <-chan struct{} { return r.changed }

// Window returns the window's end by the wall clock, and its length.
func (r *Request) Window() (until time.Time, length time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end, r.length
}

// Show notes that the phone shows the request to its person.
func (r *Request) Show(phone device.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown[phone] = true
}

// ShownBy reports whether the phone shows it.
func (r *Request) ShownBy(phone device.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown[phone]
}

// ShownBeside reports whether a phone shows it that is none of these.
func (r *Request) ShownBeside(others map[device.ID]bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for phone := range r.shown {
		if !others[phone] {
			return true
		}
	}
	return false
}

// Expect tells for how many phones Wake is about to be called.
func (r *Request) Expect(phones int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.tried = phones, phones > 0
}

// Woken reports whether a phone was woken.
func (r *Request) Woken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.woken
}

// Pending reports whether a phone may be woken still.
func (r *Request) Pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending > 0
}

// begin opens the window anew: a phone was woken.
func (r *Request) begin(now time.Time, usual time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	length := min(usual+pushDelay, wire.MaxWindow)
	if end := now.Add(length).Round(0); end.After(r.end) {
		r.end, r.length = end, length
	}
	r.woken = true
	r.tellLocked()
}

// settled tells that one of the expected calls of Wake ends.
func (r *Request) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending--
	r.tellLocked()
}

func (r *Request) tellLocked() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Explain is the error of a request that nobody showed though its phone was to be
// woken; err of any other.
func (r *Request) Explain(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	code := wire.CodeOf(err)
	switch {
	case code != wire.CodePhoneNotReachable && code != wire.CodeRequestExpired, !r.tried, len(r.shown) > 0:
		return err
	case r.woken:
		return wire.Errorf(wire.CodePhoneNotReachable, "The phone is not reachable: it was rung, but vmux was not opened there in time.")
	}
	return wire.NewError(wire.CodePhoneNotReachable)
}

// Context ends at the window's end by the wall clock, by which the phone and the
// status count as well. A deadline alone counts the time that this machine is
// awake: after a suspend the window would be open for longer.
func (r *Request) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, ended := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			until, _ := r.Window()
			left := time.Until(until) // without a monotonic reading
			if left <= 0 {
				ended(context.DeadlineExceeded)
				return
			}
			look := time.NewTimer(min(left, wallClockEvery))
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
