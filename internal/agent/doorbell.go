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
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

const (
	// ringAfter is what a phone whose link is just coming back is left.
	ringAfter = 500 * time.Millisecond
	// ringUnshown is when a phone with a link is rung as well: a phone's system
	// freezes pages that nobody looks at, and their links seem alive for a while.
	ringUnshown = 4 * time.Second
	// ringAgain is before the second attempt to ring a phone whose first one
	// failed, and doubles with each up to ringAgainMost.
	ringAgain     = 2 * time.Second
	ringAgainMost = 15 * time.Second
	// ringLook is how often is looked whether a phone can be rung now, and
	// ringPatience how long the hub may take for one attempt.
	ringLook     = 500 * time.Millisecond
	ringPatience = 20 * time.Second
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
	rings map[device.ID]*rings
	last  map[device.ID]control.Ring
}

// rings is how it went with ringing one phone.
type rings struct {
	times   []time.Time // of those that the phone's push service has taken, or may have
	awaited bool        // nothing was seen of the phone since the last one began
	ringing bool        // one is under way
	failed  int         // attempts since then
	next    time.Time   // no attempt before
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
		hubs: map[device.ID]string{}, why: map[device.ID]string{}, rings: map[device.ID]*rings{}, last: map[device.ID]control.Ring{},
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
	a.journal.Change()
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

// any reports whether a phone shows it.
func (s *seen) any() bool { return s.beside(nil) }

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

// ring wakes a phone that does not show the request: one without a link soon,
// another when it has not shown it for a while. What fails is tried again until
// ctx ends. It reports whether the phone was rung, for this request or just
// before for another.
func (a *Agent) ring(ctx context.Context, phone device.ID, requestID string, shown *seen, w *window) bool {
	began := time.Now()
	look := time.NewTimer(ringAfter)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
		look.Reset(ringLook)
		now := time.Now()
		switch {
		case shown.on(phone):
			return false
		case a.node.Connected(phone) && now.Sub(began) < ringUnshown:
			continue
		}
		switch a.mayRing(phone, now) {
		case ringLater:
			continue
		case ringNow:
			err := a.ringOne(ctx, phone, requestID)
			a.rang(ctx, phone, time.Now(), err)
			if noSubscription(err) {
				return false
			}
			if err != nil {
				continue
			}
		}
		a.countFromRing(requestID, w)
		return true
	}
}

// countFromRing begins the person's window anew.
func (a *Agent) countFromRing(requestID string, w *window) {
	w.ring(time.Now(), a.cfg.ApprovalTimeout)
	a.journal.Update(requestID, func(r *control.Request) { r.Rung, r.Until = true, w.until() })
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

func (a *Agent) canRing(phones []device.ID) bool { return len(a.ringable(phones)) > 0 }

// ringing is whether a phone may be rung.
type ringing int

const (
	ringLater ringing = iota
	ringNow
	ringHeard // it was rung just now, and is to come yet: the requests of one moment ring once
)

// mayRing reports whether the phone may be rung, and begins the ring if so. It counts by
// the wall clock, since the other one stands still while this machine sleeps; what lies
// ahead of it was written before it was set back.
func (a *Agent) mayRing(phone device.ID, now time.Time) ringing {
	now = now.Round(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.bells.rings[phone]
	if r == nil {
		r = &rings{}
		a.bells.rings[phone] = r
	}
	r.times = slices.DeleteFunc(r.times, func(at time.Time) bool { return now.Sub(at) > ringSpan || at.After(now) })
	n := len(r.times)
	switch {
	case r.ringing || now.Before(r.next) && r.next.Sub(now) <= ringAgainMost || !a.canRingLocked(phone):
		return ringLater
	case n > 0 && now.Sub(r.times[n-1]) < ringRest && r.awaited:
		return ringHeard
	case n > 0 && now.Sub(r.times[n-1]) < ringRest, n >= ringMost:
		return ringLater
	}
	r.ringing, r.awaited = true, true
	return ringNow
}

// rang notes how a ring ended that mayRing has begun. One whose request ended
// meanwhile, by ctx, has most likely rung: the hub does not take it back.
func (a *Agent) rang(ctx context.Context, phone device.ID, now time.Time, err error) {
	now = now.Round(0)
	connected := a.hub.Status().Connected
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.bells.rings[phone]
	r.ringing = false
	switch {
	case err == nil:
		r.times, r.failed = append(r.times, now), 0
		return
	case ctx.Err() != nil && connected:
		r.times, r.awaited = append(r.times, now), false
		return
	case ctx.Err() != nil:
		return
	}
	r.next = now.Add(min(ringAgain<<min(r.failed, 8), ringAgainMost))
	r.failed++
}

// came notes that something was seen of a phone: its person, who may have put it
// away since, has heard the last ring, and hears of what comes now by another one.
func (a *Agent) came(phone device.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.bells.rings[phone]; r != nil {
		r.awaited = false
	}
}

// noSubscription reports whether the phone has none, for this computer: another
// attempt would have the same answer until the app has been open there.
func noSubscription(err error) bool {
	refused, ok := errors.AsType[*relay.Error](err)
	return ok && refused.Code == hubwire.CodeNotSubscribed
}

func (a *Agent) ringOne(ctx context.Context, phone device.ID, requestID string) error {
	ctx, cancel := context.WithTimeout(ctx, ringPatience)
	defer cancel()
	err := a.wake(ctx, phone)
	switch {
	case err == nil:
		a.log.Info("phone rung", "phone", phone.Short(), "request", requestID)
	case !errors.Is(err, context.Canceled):
		a.log.Warn("the hub cannot wake a phone", "phone", phone.Short(), "request", requestID, "error", err)
	}
	return err
}

// errRung is that nobody came to the door.
func errRung() error {
	return wire.Errorf(wire.CodePhoneNotReachable, "The phone is not reachable: it was rung, but vmux was not opened there in time.")
}
