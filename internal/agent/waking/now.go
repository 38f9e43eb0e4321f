package waking

import (
	"context"
	"slices"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

// manualTimeout is how long the hub has to wake phones that a person asks for: it
// tries the push service for less.
const manualTimeout = 30 * time.Second

// Spoken leaves out phones that have never said whether they can be woken.
func (w *Waker) Spoken(phones []device.Peer) []device.Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(phones, func(p device.Peer) bool { return w.hubs[p.ID]+w.why[p.ID] == "" })
}

// WakeNow wakes the phones because a person asks for it, by `vmux ring`.
func (w *Waker) WakeNow(ctx context.Context, phones []device.Peer) []control.Woken {
	ctx, cancel := context.WithTimeout(ctx, manualTimeout)
	defer cancel()
	list := make([]control.Woken, 0, len(phones))
	for _, p := range phones {
		result := control.Woken{ID: p.ID.String(), Name: p.Name.String()}
		if err := w.wake(ctx, p.ID); err != nil {
			result.Error = w.whyNot(p.ID, err)
		}
		list = append(list, result)
	}
	return list
}

// whyNot is the hub's answer, or the phone's own reason, which says more.
func (w *Waker) whyNot(phone device.ID, err error) *control.Error {
	if !notSubscribed(err) {
		return control.Errorf(wire.CodePhoneNotReachable, "see the log of the hub; in the app, Settings has the same test", "The hub could not ring it: %v.", err)
	}
	var d control.Device
	w.Describe(&d, phone)
	if d.WakeProblem == "" { // it has never said anything
		d.WakeProblem = "the hub has no push subscription of it"
		d.WakeHint = "only the web app can be rung: in its Settings, Notify me when a request waits"
	}
	return control.Errorf(wire.CodePhoneNotReachable, d.WakeHint, "It cannot be rung: %s.", d.WakeProblem)
}
