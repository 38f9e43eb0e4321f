package waking

import (
	"context"
	"errors"
	"slices"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

const (
	// wakeAfter is what a phone whose link is just coming back is left.
	wakeAfter = 500 * time.Millisecond
	// wakeUnshown is when a phone with a link is woken as well: a phone's system
	// freezes pages that nobody looks at, and their links seem alive for a while.
	wakeUnshown = 4 * time.Second
	// firstRetry is before the second attempt to wake a phone whose first one
	// failed, and doubles with each up to lastRetry.
	firstRetry = 2 * time.Second
	lastRetry  = 15 * time.Second
	// attemptTimeout is how long the hub may take for one attempt.
	attemptTimeout = 20 * time.Second
	// pause is the least time between two pushes to one phone, and maxWakes how
	// many there can be within wakeSpan: whoever can use the agent's socket could
	// wake the phone all day.
	pause    = 10 * time.Second
	maxWakes = 5
	wakeSpan = 5 * time.Minute
)

// unknownAtHub is a reason of the agent's own beside those of wire: the hub has no
// subscription of the phone, or its push service has ended it.
const unknownAtHub = "unknownAtHub"

// wakes is how it went with waking one phone.
type wakes struct {
	times   []time.Time // of those that the phone's push service has taken, or may have
	awaited bool        // nothing was seen of the phone since the last one began
	begun   bool        // one is under way
	failed  int         // attempts since then
	next    time.Time   // no attempt before
}

// Wake wakes a phone that does not show the request: one without a link soon,
// another when it has not shown it for a while. What fails is tried again until
// ctx ends. It reports whether the phone was woken, for this request or just
// before for another, and opens the request's window anew if so.
func (w *Waker) Wake(ctx context.Context, phone device.ID, r *Request, links Links) bool {
	defer r.settled()
	for began := time.Now(); ctx.Err() == nil; {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		wait, now := time.Duration(0), time.Now()
		switch age := now.Sub(began); {
		case r.ShownBy(phone):
			return false
		case age < wakeAfter:
			wait = wakeAfter - age
		case age < wakeUnshown && links.Connected(phone):
			wait = wakeUnshown - age
		default:
			var may decision
			switch may, wait = w.mayWake(phone, now); may {
			case wakeNow:
				err := w.wakeFor(ctx, phone, r)
				w.woke(ctx, phone, time.Now(), err)
				if notSubscribed(err) {
					return false // so would be another attempt until the app has been open there
				}
				if err != nil {
					continue
				}
				fallthrough
			case awaited:
				r.begin(time.Now(), w.Window)
				return true
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
	return false
}

// decision is whether a phone may be woken.
type decision int

const (
	later decision = iota
	wakeNow
	awaited // it was woken just now, and is to come yet: the requests of one moment wake once
)

// mayWake reports whether the phone may be woken, and begins if so; else when to ask
// again, if nothing changes before. It counts by the wall clock, since the other one
// stands still while this machine sleeps; what lies ahead of it was written before it
// was set back.
func (w *Waker) mayWake(phone device.ID, now time.Time) (may decision, wait time.Duration) {
	now = now.Round(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.wakes[phone]
	if p == nil {
		p = &wakes{}
		w.wakes[phone] = p
	}
	p.times = slices.DeleteFunc(p.times, func(at time.Time) bool { return now.Sub(at) >= wakeSpan || at.After(now) })
	n := len(p.times)
	switch {
	case p.begun || !w.canWakeLocked(phone):
		return later, wire.MaxWindow // its end is told
	case now.Before(p.next) && p.next.Sub(now) <= lastRetry:
		return later, p.next.Sub(now)
	case n > 0 && now.Sub(p.times[n-1]) < pause && p.awaited:
		return awaited, 0
	case n > 0 && now.Sub(p.times[n-1]) < pause:
		return later, pause - now.Sub(p.times[n-1])
	case n >= maxWakes:
		return later, wakeSpan - now.Sub(p.times[0])
	}
	p.begun, p.awaited = true, true
	return wakeNow, 0
}

// woke notes what came of what mayWake has begun. A phone whose request ended
// meanwhile, by ctx, was most likely woken: the hub does not take it back.
func (w *Waker) woke(ctx context.Context, phone device.ID, now time.Time, err error) {
	now = now.Round(0)
	connected := w.hub.Status().Connected
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.wakes[phone]
	p.begun = false
	switch {
	case err == nil:
		p.times, p.failed = append(p.times, now), 0
	case ctx.Err() != nil && connected:
		p.times, p.awaited = append(p.times, now), false
	case ctx.Err() == nil:
		p.next = now.Add(min(firstRetry<<min(p.failed, 8), lastRetry))
		p.failed++
	}
	w.tellLocked()
}

// Seen notes that something was seen of a phone, its link or that it shows a request:
// its person, who may have put it away since, has heard the last push, and hears of
// what comes now by another one.
func (w *Waker) Seen(phone device.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.wakes[phone]; p != nil {
		p.awaited = false
	}
	w.tellLocked()
}

// Lost notes that the link of a phone has ended.
func (w *Waker) Lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked()
}

func (w *Waker) tellLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// notSubscribed reports whether the phone has no push subscription for this computer.
func notSubscribed(err error) bool {
	refused, ok := errors.AsType[*relay.Error](err)
	return ok && refused.Code == hubwire.CodeNotSubscribed
}

func (w *Waker) wakeFor(ctx context.Context, phone device.ID, r *Request) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	err := w.wake(ctx, phone)
	switch {
	case err == nil:
		w.Log.Info("phone woken", "phone", phone.Short(), "request", r.id)
	case !errors.Is(err, context.Canceled):
		w.Log.Warn("the hub cannot wake a phone", "phone", phone.Short(), "request", r.id, "error", err)
	}
	return err
}

// wake has the hub wake a phone, and keeps what came of it. A phone of which the hub
// knows no subscription is not believed to be one that can be woken any more, until it
// says so itself.
func (w *Waker) wake(ctx context.Context, phone device.ID) error {
	err := w.hub.WakePeer(ctx, phone)
	if errors.Is(err, context.Canceled) {
		return err
	}
	w.mu.Lock()
	believed := w.canWakeLocked(phone) // else the phone's own reason, or its other hub, says more
	w.mu.Unlock()
	if believed && notSubscribed(err) {
		if err := w.set(phone, "", unknownAtHub); err != nil {
			w.Log.Warn("keep that a phone cannot be woken", "phone", phone.Short(), "error", err)
		}
	}
	last := control.Wake{At: time.Now()}
	if err != nil {
		last.Error = err.Error()
	}
	w.mu.Lock()
	w.last[phone] = last
	w.mu.Unlock()
	w.Changed()
	return err
}
