package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

const (
	// ringAfter is what a phone whose link is just coming back is left.
	ringAfter = 500 * time.Millisecond
	// ringUnshown is when a phone with a link is rung as well: a phone's system
	// freezes pages that nobody looks at, and their links seem alive for a while.
	ringUnshown = 4 * time.Second
	// ringRest is the least time between two rings of one phone, and ringMost
	// how many there can be within ringSpan: whoever can use the agent's socket
	// could make the phone ring all day.
	ringRest = 10 * time.Second
	ringMost = 5
	ringSpan = 5 * time.Minute
)

// doorbells are the phones that a hub can wake. Guarded by Agent.mu.
type doorbells struct {
	hubs  map[device.ID]string // that can wake the phone
	why   map[device.ID]string // it cannot be woken; of those that have said so, or of whom the hub has
	rings map[device.ID][]time.Time
	last  map[device.ID]control.Ring
}

// wakeablePhones is the doorbells' document, in the order of the IDs.
type wakeablePhones struct {
	Version int             `json:"version"`
	Phones  []wakeablePhone `json:"phones"`
}

type wakeablePhone struct {
	DeviceID device.ID `json:"deviceID"`
	Hub      string    `json:"hub"`              // "": it cannot be woken
	Reason   string    `json:"reason,omitempty"` // why
}

const wakeableVersion = 1

// loadDoorbells reads the document. A damaged one is as good as none: phones
// renew what they have said at each link-up.
func loadDoorbells(d documents) (doorbells, error) {
	bells := doorbells{
		hubs: map[device.ID]string{}, why: map[device.ID]string{}, rings: map[device.ID][]time.Time{}, last: map[device.ID]control.Ring{},
	}
	b, err := d.Get(documentWakeable)
	if err != nil {
		return bells, fmt.Errorf("read which phones can be woken: %w", err)
	}
	var doc wakeablePhones
	if b == nil || json.Unmarshal(b, &doc) != nil || doc.Version != wakeableVersion || len(doc.Phones) > device.MaxPeers {
		return bells, nil
	}
	for _, p := range doc.Phones {
		if hub, err := wire.ParseHubURL(p.Hub); err == nil {
			bells.hubs[p.DeviceID] = hub
		} else if p.Reason != "" {
			bells.why[p.DeviceID] = p.Reason
		}
	}
	return bells, nil
}

// tokenUpdate takes what a phone says of its doorbell.
func (a *Agent) tokenUpdate(r *link.Request) (wire.Kind, any) {
	var update wire.DeviceTokenUpdate
	if err := wire.DecodeBody(r.Envelope, &update); err != nil {
		return wire.KindError, wire.AsError(err)
	}
	hub, why := update.Hub, ""
	if !update.Active {
		hub, why = "", cmp.Or(update.Reason, wire.WakeOff)
	}
	if err := a.setDoorbell(r.From.ID, hub, why); err != nil {
		a.log.Warn("keep that a phone can be woken", "phone", r.From.ID.Short(), "error", err)
	}
	return "", nil
}

// setDoorbell keeps by which hub a phone can be woken, or why by none; both "":
// nothing is known.
func (a *Agent) setDoorbell(phone device.ID, hub, why string) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	if _, err := a.trust.Get(phone); err != nil && hub+why != "" {
		return err
	}
	a.mu.Lock()
	if a.bells.hubs[phone] == hub && a.bells.why[phone] == why {
		a.mu.Unlock()
		return nil
	}
	keep(a.bells.hubs, phone, hub)
	keep(a.bells.why, phone, why)
	if hub+why == "" {
		delete(a.bells.last, phone)
	}
	a.tellLocked()
	doc := wakeablePhones{Version: wakeableVersion, Phones: []wakeablePhone{}}
	for id, hub := range a.bells.hubs {
		doc.Phones = append(doc.Phones, wakeablePhone{DeviceID: id, Hub: hub})
	}
	for id, why := range a.bells.why {
		doc.Phones = append(doc.Phones, wakeablePhone{DeviceID: id, Reason: why})
	}
	a.mu.Unlock()
	slices.SortFunc(doc.Phones, func(p, q wakeablePhone) int { return p.DeviceID.Compare(q.DeviceID) })
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return a.docs.Put(documentWakeable, b)
}

// keep puts a value, or removes what is empty.
func keep(m map[device.ID]string, id device.ID, value string) {
	if m[id] = value; value == "" {
		delete(m, id)
	}
}

// canRingLocked reports whether this agent's hub can wake the phone.
func (a *Agent) canRingLocked(phone device.ID) bool {
	return a.cfg.Hub != nil && a.bells.hubs[phone] == a.cfg.Hub.URL
}

// seen is which phones show a request.
type seen struct {
	mu sync.Mutex
	by map[device.ID]bool
}

func (s *seen) add(phone device.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[device.ID]bool{}
	}
	s.by[phone] = true
}

func (s *seen) on(phone device.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[phone]
}

// beside reports whether a phone shows it that is none of these.
func (s *seen) beside(others map[device.ID]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for phone := range s.by {
		if !others[phone] {
			return true
		}
	}
	return false
}

// ring wakes, once each, the phones that do not show the request: those without
// a link soon, the others when they have not shown it for a while. It returns
// when no phone is left, or soon after ctx ends, and reports whether it has rung
// any.
func (a *Agent) ring(ctx context.Context, phones []device.ID, requestID string, shown *seen) (rang bool) {
	left := a.ringable(phones)
	began := time.Now()
	for at := ringAfter; len(left) > 0 && at < wire.MaxWindow; at += ringUnshown - ringAfter {
		timer := time.NewTimer(time.Until(began.Add(at)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return rang
		case <-timer.C:
		}
		near := a.connected(left)
		left = slices.DeleteFunc(left, func(phone device.ID) bool {
			if shown.on(phone) {
				return true
			}
			if near[phone] && at < ringUnshown || !a.mayRing(phone, time.Now()) {
				return false
			}
			rang = a.ringOne(ctx, phone, requestID) || rang
			return true
		})
	}
	return rang
}

// ringable leaves out the phones that this agent's hub cannot wake.
func (a *Agent) ringable(phones []device.ID) []device.ID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []device.ID
	for _, phone := range phones {
		if a.hub != nil && a.canRingLocked(phone) {
			list = append(list, phone)
		}
	}
	return list
}

// mayRing reports whether the phone has had its rest, and counts the ring.
func (a *Agent) mayRing(phone device.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	rings := slices.DeleteFunc(a.bells.rings[phone], func(at time.Time) bool { return now.Sub(at) > ringSpan })
	n := len(rings)
	if n >= ringMost || n > 0 && now.Sub(rings[n-1]) < ringRest {
		a.bells.rings[phone] = rings
		return false
	}
	a.bells.rings[phone] = append(rings, now)
	return true
}

func (a *Agent) ringOne(ctx context.Context, phone device.ID, requestID string) bool {
	if err := a.wake(ctx, phone); err != nil {
		if !errors.Is(err, context.Canceled) {
			a.log.Warn("the hub cannot wake a phone", "phone", phone.Short(), "request", requestID, "error", err)
		}
		return false
	}
	a.log.Info("phone rung", "phone", phone.Short(), "request", requestID)
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.waiting[requestID]; r != nil && !r.Rung {
		rung := *r
		rung.Rung = true
		a.waiting[requestID] = &rung
		a.tellLocked()
	}
	return true
}

// errRung is that nobody came to the door.
func errRung() error {
	return wire.Errorf(wire.CodePhoneNotReachable, "The phone is not reachable: it was rung, but vmux was not opened there in time.")
}
