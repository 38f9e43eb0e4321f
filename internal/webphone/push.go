package webphone

import (
	"context"
	"encoding/json"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// pushTimeout bounds the wait for the hub.
const pushTimeout = 15 * time.Second

// subscribePush gives the hub the browser's subscription. It is called at each
// start as well, since subscriptions end without a word.
func (p *Phone) subscribePush(ctx context.Context, a arguments) (any, error) {
	if len(a.Subscription) == 0 || string(a.Subscription) == "null" {
		return nil, &Error{Code: "malformed", Message: "The browser gave no subscription."}
	}
	if err := p.tellSubscription(ctx, a.Subscription); err != nil {
		return nil, err
	}
	return nil, p.setPush(true)
}

func (p *Phone) unsubscribePush(ctx context.Context, _ arguments) (any, error) {
	if err := p.tellSubscription(ctx, nil); err != nil {
		return nil, err
	}
	return nil, p.setPush(false)
}

func (p *Phone) tellSubscription(ctx context.Context, subscription json.RawMessage) error {
	hub, _ := p.running()
	if hub == nil {
		return &Error{Code: "hubUnreachable", Message: "The hub does not answer."}
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	return hub.Subscribe(ctx, subscription)
}

func (p *Phone) setPush(on bool) error {
	if err := p.change(func(s *settings) { s.Push = on }); err != nil {
		return err
	}
	for _, id := range p.allowed() {
		p.tellDoorbell(id)
	}
	p.changed()
	return nil
}

// tellDoorbell tells a computer whether the hub can wake this phone.
func (p *Phone) tellDoorbell(id device.ID) {
	_, node := p.running()
	url, err := wire.ParseHubURL(p.cfg.HubURL)
	if node == nil || err != nil {
		return
	}
	s, err := p.settings()
	if err != nil {
		p.cfg.Log.Warn("settings", "err", err)
	}
	update := wire.DeviceTokenUpdate{Service: wire.ServiceWebPush, Hub: url, Active: s.Push}
	if err := node.Tell(id, wire.KindDeviceTokenUpdate, update); err != nil {
		p.cfg.Log.Debug("tell of the doorbell", "peer", id.Short(), "err", err) // LinkUp tells again
	}
}
