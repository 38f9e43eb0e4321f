package agent

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
	// wakeUnknown is a reason of the agent's own beside those of wire: the hub has no
	// subscription of the phone, or its push service has ended it.
	wakeUnknown = "unknownAtHub"
	// wakeTimeout is how long the hub has for a ring that a person asks for: it tries
	// the push service for less.
	wakeTimeout = 30 * time.Second
)

// wakeReasons are the sentences of a phone that cannot be rung, and what to do.
var wakeReasons = map[string]struct{ sentence, hint string }{
	wire.WakeOff:    {"notifications are off in its app", "in the app: Settings, Notify me when a request waits"},
	wire.WakeDenied: {"the phone does not let the app notify", "allow notifications for the app in the phone's or the browser's settings, then open it"},
	wire.WakeFailed: {"notifications do not work there", "open the app: its Settings say why"},
	wakeUnknown:     {"the hub has no push subscription of it, or its push service has ended it", "open the app on the phone: it makes a new one"},
}

// wake has the hub ring a phone, and keeps what came of it. A phone of which the hub
// knows no subscription is not believed to be one that can be rung any more, until it
// says so itself.
func (a *Agent) wake(ctx context.Context, phone device.ID) error {
	err := a.hub.WakePeer(ctx, phone)
	if errors.Is(err, context.Canceled) {
		return err
	}
	var refused *relay.Error
	a.mu.Lock()
	believed := a.canRingLocked(phone) // else the phone's own reason, or its other hub, says more
	a.mu.Unlock()
	if believed && errors.As(err, &refused) && refused.Code == hubwire.CodeNotSubscribed {
		if err := a.setDoorbell(phone, "", wakeUnknown); err != nil {
			a.log.Warn("keep that a phone cannot be woken", "phone", phone.Short(), "error", err)
		}
	}
	last := control.Ring{At: time.Now()}
	if err != nil {
		last.Error = err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bells.last[phone] = last
	a.journal.Change()
	return err
}

// tellRingingLocked says of a phone whether it can be rung. Nothing is said of phones
// that were never told of, as those that are no web app.
func (a *Agent) tellRingingLocked(d *control.Device, phone device.ID) {
	d.Wakeable = a.canRingLocked(phone)
	if last, rung := a.bells.last[phone]; rung {
		d.LastRing = &last
	}
	hub, why := a.bells.hubs[phone], a.bells.why[phone]
	switch {
	case d.Wakeable || hub == "" && why == "":
	case a.cfg.Hub == nil:
		d.RingProblem, d.RingHint = "this agent uses no hub", "vmux agent --hub URL"
	case hub != "":
		d.RingProblem, d.RingHint = "it is rung by another hub: "+hub, "open the app at "+a.cfg.Hub.URL
	default:
		text, known := wakeReasons[why]
		if !known {
			text = wakeReasons[wire.WakeFailed]
		}
		d.RingProblem, d.RingHint = text.sentence, text.hint
	}
}

// Ring implements control.Service: without a name it rings all phones that have said
// whether they can be rung.
func (a *Agent) Ring(ctx context.Context, name string) ([]control.Rung, error) {
	if a.hub == nil {
		return nil, control.Errorf(control.CodeInvalid, "vmux agent --hub URL", "The agent uses no hub, and only a hub can ring a phone.")
	}
	phones, err := a.toRing(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	list := make([]control.Rung, 0, len(phones))
	for _, p := range phones {
		rung := control.Rung{ID: p.ID.String(), Name: p.Name}
		if err := a.wake(ctx, p.ID); err != nil {
			rung.Error = a.whyNotRung(p.ID, err)
		}
		list = append(list, rung)
	}
	return list, nil
}

func (a *Agent) toRing(name string) ([]device.Peer, error) {
	if name != "" {
		p, err := a.find(name)
		return []device.Peer{p}, err
	}
	peers, err := a.trust.Peers()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	peers = slices.DeleteFunc(peers, func(p device.Peer) bool { return a.bells.hubs[p.ID]+a.bells.why[p.ID] == "" })
	a.mu.Unlock()
	if len(peers) == 0 {
		return nil, control.Errorf(wire.CodePhoneNotReachable, "open the app on the phone, and in its Settings let it notify you", "No paired phone can be rung.")
	}
	return peers, nil
}

// whyNotRung is the hub's answer, or the phone's own reason, which says more.
func (a *Agent) whyNotRung(phone device.ID, err error) *control.Error {
	var refused *relay.Error
	if !errors.As(err, &refused) || refused.Code != hubwire.CodeNotSubscribed {
		return control.Errorf(wire.CodePhoneNotReachable, "see the log of the hub; in the app, Settings has the same test", "The hub could not ring it: %v.", err)
	}
	var d control.Device
	a.mu.Lock()
	a.tellRingingLocked(&d, phone)
	a.mu.Unlock()
	if d.RingProblem == "" { // it has never said anything
		d.RingProblem = "the hub has no push subscription of it"
		d.RingHint = "only the web app can be rung: in its Settings, Notify me when a request waits"
	}
	return control.Errorf(wire.CodePhoneNotReachable, d.RingHint, "It cannot be rung: %s.", d.RingProblem)
}
