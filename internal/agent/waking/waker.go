// Package waking has a hub wake phones that do not show a request: by a push
// notification, seldom enough that nobody who can use the agent's socket wakes a
// phone all day. It knows which phones can be woken and what came of it, keeps
// the time that a person has, and says why a phone is not reached.
package waking

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

// Document is the name of the document with the phones that can be woken.
const Document = "wakeable-phones.json"

// Config is what a Waker needs; all fields are required.
type Config struct {
	// Documents keeps Document.
	Documents interface {
		Get(name string) ([]byte, error)
		Put(name string, b []byte) error
	}
	Trust *device.Trust
	// Window is how long a person may take for a request.
	Window time.Duration
	// Changed is called when what Describe says has changed, also concurrently.
	Changed func()
	Log     *slog.Logger
}

// Hub is what a relay.Client does here.
type Hub interface {
	WakePeer(ctx context.Context, id device.ID) error
	Status() relay.Status
}

// Links is what a link.Node does here.
type Links interface {
	Connected(id device.ID) bool
}

// Waker wakes phones. It may be used concurrently.
type Waker struct {
	Config
	hub Hub    // nil: none
	url string // the hub's

	saving sync.Mutex // orders the writes of the document; taken before mu

	mu      sync.Mutex
	hubs    map[device.ID]string // that can wake the phone
	why     map[device.ID]string // it cannot be woken; of those that have said so, or of whom the hub has
	wakes   map[device.ID]*wakes
	last    map[device.ID]control.Wake
	changed chan struct{} // closed, and made anew, when it may be time to wake a phone
}

// wakeablePhones is the document, in the order of the IDs.
type wakeablePhones struct {
	Version int             `json:"version"`
	Phones  []wakeablePhone `json:"phones"`
}

type wakeablePhone struct {
	DeviceID device.ID `json:"deviceID"`
	Hub      string    `json:"hub"`              // "": it cannot be woken
	Reason   string    `json:"reason,omitempty"` // why
}

const version = 1

// New reads the document. A damaged one is as good as none: phones renew what they
// have said at each link-up.
func New(c Config) (*Waker, error) {
	w := &Waker{
		Config: c, hubs: map[device.ID]string{}, why: map[device.ID]string{}, wakes: map[device.ID]*wakes{},
		last: map[device.ID]control.Wake{}, changed: make(chan struct{}),
	}
	b, err := c.Documents.Get(Document)
	if err != nil {
		return nil, fmt.Errorf("read which phones can be woken: %w", err)
	}
	var doc wakeablePhones
	if b == nil || json.Unmarshal(b, &doc) != nil || doc.Version != version || len(doc.Phones) > device.MaxPeers {
		return w, nil
	}
	for _, p := range doc.Phones {
		if hub, err := wire.ParseHubURL(p.Hub); err == nil {
			w.hubs[p.DeviceID] = hub
		} else if p.Reason != "" {
			w.why[p.DeviceID] = p.Reason
		}
	}
	return w, nil
}

// UseHub says which hub wakes phones. It is called before anything else.
func (w *Waker) UseHub(hub Hub, url string) { w.hub, w.url = hub, url }

// Update takes what a phone says of whether and by which hub it can be woken.
func (w *Waker) Update(phone device.ID, update wire.DeviceTokenUpdate) error {
	if !update.Active {
		return w.set(phone, "", cmp.Or(update.Reason, wire.WakeOff))
	}
	return w.set(phone, update.Hub, "")
}

// Forget forgets a phone that is not paired any more.
func (w *Waker) Forget(phone device.ID) error { return w.set(phone, "", "") }

// set keeps by which hub a phone can be woken, or why by none; both "": nothing is
// known.
func (w *Waker) set(phone device.ID, hub, why string) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	if _, err := w.Trust.Get(phone); err != nil && hub+why != "" {
		return err
	}
	w.mu.Lock()
	if w.hubs[phone] == hub && w.why[phone] == why {
		w.mu.Unlock()
		return nil
	}
	keep(w.hubs, phone, hub)
	keep(w.why, phone, why)
	if hub+why == "" {
		delete(w.last, phone)
	}
	w.tellLocked()
	doc := wakeablePhones{Version: version, Phones: []wakeablePhone{}}
	for _, id := range slices.SortedFunc(maps.Keys(w.hubs), device.ID.Compare) {
		doc.Phones = append(doc.Phones, wakeablePhone{DeviceID: id, Hub: w.hubs[id]})
	}
	for _, id := range slices.SortedFunc(maps.Keys(w.why), device.ID.Compare) {
		doc.Phones = append(doc.Phones, wakeablePhone{DeviceID: id, Reason: w.why[id]})
	}
	w.mu.Unlock()
	w.Changed()
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return w.Documents.Put(Document, b)
}

// keep puts a value, or removes what is empty.
func keep(m map[device.ID]string, id device.ID, value string) {
	if m[id] = value; value == "" {
		delete(m, id)
	}
}

// Wakeable leaves out the phones that this agent's hub cannot wake.
func (w *Waker) Wakeable(phones []device.ID) []device.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []device.ID
	for _, phone := range phones {
		if w.canWakeLocked(phone) {
			list = append(list, phone)
		}
	}
	return list
}

func (w *Waker) canWakeLocked(phone device.ID) bool { return w.hub != nil && w.hubs[phone] == w.url }

// reasons are the sentences of a phone that cannot be woken, and what to do.
var reasons = map[string]struct{ sentence, hint string }{
	wire.WakeOff:    {"notifications are off in its app", "in the app: Settings, Notify me when a request waits"},
	wire.WakeDenied: {"the phone does not let the app notify", "allow notifications for the app in the phone's or the browser's settings, then open it"},
	wire.WakeFailed: {"notifications do not work there", "open the app: its Settings say why"},
	unknownAtHub:    {"the hub has no push subscription of it, or its push service has ended it", "open the app on the phone: it makes a new one"},
}

// Describe says of a phone whether it can be woken. Nothing is said of phones that
// were never told of, as those that are no web app.
func (w *Waker) Describe(d *control.Device, phone device.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.Wakeable = w.canWakeLocked(phone)
	if last, woken := w.last[phone]; woken {
		d.LastWake = &last
	}
	hub, why := w.hubs[phone], w.why[phone]
	switch {
	case d.Wakeable || hub == "" && why == "":
	case w.hub == nil:
		d.WakeProblem, d.WakeHint = "this agent uses no hub", "vmux agent --hub URL"
	case hub != "":
		d.WakeProblem, d.WakeHint = "it is rung by another hub: "+hub, "open the app at "+w.url
	default:
		text, known := reasons[why]
		if !known {
			text = reasons[wire.WakeFailed]
		}
		d.WakeProblem, d.WakeHint = text.sentence, text.hint
	}
}
