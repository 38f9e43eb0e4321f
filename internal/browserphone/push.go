package browserphone

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

// pushTimeout bounds the wait for the hub.
const pushTimeout = 15 * time.Second

// errPushOff ends a renewal: notifications were turned off while the page made it.
var errPushOff = &Error{Code: "pushOff", Message: "Notifications are off."}

// subscribePush gives the hub the browser's subscription. The page renews it at each
// start as well, since subscriptions end without a word; that turns nothing on.
func (p *Phone) subscribePush(ctx context.Context, a arguments) (any, error) {
	if len(a.Subscription) == 0 || string(a.Subscription) == "null" {
		return nil, &Error{Code: "malformed", Message: "The browser gave no subscription."}
	}
	p.pushMu.Lock()
	defer p.pushMu.Unlock()
	if a.Renewal {
		if s, err := p.settings(); err != nil || !s.Push {
			return nil, cmp.Or[error](err, errPushOff)
		}
	}
	if err := p.tellSubscription(ctx, a.Subscription); err != nil {
		return nil, hubRefusal(err)
	}
	return nil, p.setPush(true, "")
}

// unsubscribePush turns notifications off, also where the hub cannot be told: its next
// push finds a subscription that the browser has ended.
func (p *Phone) unsubscribePush(ctx context.Context, _ arguments) (any, error) {
	p.pushMu.Lock() // a subscription that is being given ends as well
	defer p.pushMu.Unlock()
	if err := p.setPush(false, ""); err != nil {
		return nil, err
	}
	if hub, _ := p.running(); hub == nil || !hub.Status().Connected {
		return nil, nil
	}
	return nil, hubRefusal(p.tellSubscription(ctx, nil))
}

// pushFailed keeps why this phone cannot be woken though its person wants it, and tells
// the computers.
func (p *Phone) pushFailed(_ context.Context, a arguments) (any, error) {
	p.pushMu.Lock()
	defer p.pushMu.Unlock()
	s, err := p.settings()
	if err != nil || !s.Push || s.PushProblem == a.Kind {
		return nil, err
	}
	return nil, p.setPush(true, a.Kind)
}

// testPush has the hub wake this phone, as a computer does.
func (p *Phone) testPush(ctx context.Context, _ arguments) (any, error) {
	hub, _ := p.running()
	if hub == nil {
		return nil, errNoHub
	}
	ctx, cancel := context.WithTimeout(ctx, 2*pushTimeout)
	defer cancel()
	return nil, hubRefusal(hub.WakePeer(ctx, p.cfg.Key.ID()))
}

var errNoHub = &Error{Code: "hubUnreachable", Message: "The hub does not answer."}

func (p *Phone) tellSubscription(ctx context.Context, subscription json.RawMessage) error {
	hub, _ := p.running()
	if hub == nil {
		return errNoHub
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	return hub.Subscribe(ctx, subscription)
}

// hubRefusal is what the hub has refused, as the page gets it.
func hubRefusal(err error) error {
	var refused *relay.Error
	if !errors.As(err, &refused) {
		return err
	}
	said := wire.Show(refused.Message)
	switch refused.Code {
	case hubwire.CodeSubscriptionDead: // the page makes another
		return &Error{Code: "pushDead", Message: asSentence(said)}
	case hubwire.CodeNotSubscribed:
		return &Error{Code: "pushLost", Message: "The hub has no subscription of this phone, or its push service has just ended it.", Hint: "Turn notifications off and on again."}
	case hubwire.CodeBusy:
		return &Error{Code: "pushBusy", Message: "The hub takes no more for now: " + said + ".", Hint: "Try again in a minute."}
	case hubwire.CodeMalformed:
		return &Error{Code: "pushRefused", Message: "The hub cannot use the push service of this browser: " + said + ".", Hint: "Try another browser."}
	}
	return &Error{Code: "pushHub", Message: "The hub could not do it: " + said + ".", Hint: "Who runs the hub finds the reason in its log."}
}

func (p *Phone) setPush(on bool, problem string) error {
	p.pushKnown.Store(true)
	if err := p.change(func(s *settings) { s.Push, s.PushProblem = on, problem }); err != nil {
		return err
	}
	for _, id := range p.trust.IDs() {
		p.tellWakeable(id)
	}
	p.changed()
	return nil
}

// wakeReason is why this phone cannot be woken; "" if it can.
func (s settings) wakeReason() string {
	switch {
	case !s.Push:
		return wire.WakeOff
	case s.PushProblem == "":
		return ""
	case strings.HasPrefix(s.PushProblem, "pushDenied"):
		return wire.WakeDenied
	}
	return wire.WakeFailed
}

// tellWakeable tells a computer whether the hub can wake this phone.
func (p *Phone) tellWakeable(id device.ID) {
	_, node := p.running()
	if node == nil {
		return
	}
	s, err := p.settings()
	if err != nil {
		p.cfg.Log.Warn("settings", "err", err)
	}
	why := s.wakeReason()
	if why == "" && !p.pushKnown.Load() {
		return // whether the subscription still holds is told when the hub has taken it
	}
	update := wire.DeviceTokenUpdate{Service: wire.ServiceWebPush, Hub: p.cfg.HubURL, Active: why == "", Reason: why}
	if err := node.Tell(id, wire.KindDeviceTokenUpdate, update); err != nil {
		p.cfg.Log.Debug("tell that the hub can wake this phone", "peer", id.Short(), "err", err) // LinkUp tells again
	}
}
