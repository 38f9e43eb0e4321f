// Package notices decides what a person is told outside of any terminal, from how one
// status of the agent differs from the one before. The tray tells, and without one the
// agent: both ask here.
package notices

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Kind is what a notice is about. Each can be switched off.
type Kind string

// The kinds.
const (
	Waiting     Kind = "waiting"     // a request waits for approval
	Denied      Kind = "denied"      // by the person or a policy
	Expired     Kind = "expired"     // nobody answered
	Away        Kind = "away"        // no phone was reached
	Failed      Kind = "failed"      // for another reason
	Certificate Kind = "certificate" // it is about to expire, or is gone
	CA          Kind = "ca"          // a phone's has changed
	Pairing     Kind = "pairing"     // a phone was added or removed
	Ringing     Kind = "ringing"     // a phone could not be woken
)

// Kinds are all of them, in the order of the documentation.
var Kinds = []Kind{Waiting, Denied, Expired, Away, Failed, Certificate, CA, Pairing, Ringing}

const (
	// patience is how long a request waits before it is told of: most are answered by
	// whoever looks at the phone already.
	patience = 300 * time.Millisecond
	// expiresSoon is how long before its end a certificate is told of that has not been
	// renewed.
	expiresSoon = 5 * time.Minute // as the words say that tell of it
)

// Notice is to be shown.
type Notice struct {
	Kind Kind
	// ID is that of the request that waits: the notice is withdrawn with it. Else "".
	ID   string
	Text string
}

// Watcher compares each status with the one before. It is not safe for concurrent use.
type Watcher struct {
	before control.Status
	began  bool
	told   map[string]bool // requests that wait, by their IDs
	ending string          // serial of the certificate whose end was told of
}

// Next returns what to show, the IDs of what to withdraw, and after how long to ask again
// though nothing has changed; 0 is never. Of the first status of an agent nothing is old
// news but what waits. Kinds that the status does not name are left out.
func (w *Watcher) Next(s control.Status, now time.Time) (show []Notice, withdraw []string, again time.Duration) {
	if !w.began || !s.StartedAt.Equal(w.before.StartedAt) {
		withdraw = slices.Collect(maps.Keys(w.told)) // the agent is gone
		w.before, w.began, w.told = s, true, map[string]bool{}
	}
	show, gone, again := w.waiting(s, now)
	withdraw = append(withdraw, gone...)
	show = append(show, w.failure(s)...)
	ending, later := w.certificate(s, now)
	show = append(show, ending...)
	show = append(show, w.phones(s)...)
	if later > 0 && (again == 0 || later < again) {
		again = later
	}
	w.before = s
	return slices.DeleteFunc(show, func(n Notice) bool { return !slices.Contains(s.Notifications, string(n.Kind)) }), withdraw, again
}

func (w *Watcher) waiting(s control.Status, now time.Time) (show []Notice, withdraw []string, again time.Duration) {
	waits := map[string]bool{}
	for _, r := range s.Waiting {
		waits[r.RequestID] = true
		left := r.Since.Add(patience).Sub(now)
		switch {
		case w.told[r.RequestID]:
		case left > 0:
			again = max(left, time.Millisecond)
		default:
			w.told[r.RequestID] = true
			show = append(show, Notice{Waiting, r.RequestID, "Approve on the phone: " + r.About()})
		}
	}
	for id := range w.told {
		if !waits[id] {
			delete(w.told, id)
			withdraw = append(withdraw, id)
		}
	}
	slices.Sort(withdraw)
	return show, withdraw, again
}

func (w *Watcher) failure(s control.Status) []Notice {
	f, before := s.LastFailure, w.before.LastFailure
	if f == nil || before != nil && !f.At.After(before.At) || f.Sentence == control.SentenceWithdrawn {
		return nil
	}
	kind := Failed
	switch f.Code {
	case wire.CodeUserDenied, wire.CodePolicyDenied, wire.CodePaused, wire.CodeMuted:
		kind = Denied
	case wire.CodeRequestExpired:
		kind = Expired
	case wire.CodePhoneNotReachable:
		kind = Away
	case control.CodeCAChanged:
		kind = CA
	case wire.CodePairingInvalid:
		if f.Kind == "pairing" {
			return nil // the phone is not listed any more: see phones
		}
	}
	text := f.Sentence
	if f.About != "" {
		text = f.About + ": " + text
	}
	return []Notice{{kind, "", text}}
}

// certificate tells of one that is about to expire, and of one that is gone before.
func (w *Watcher) certificate(s control.Status, now time.Time) (show []Notice, again time.Duration) {
	c, before := s.Certificate, w.before.Certificate
	if c.State != control.CertificateValid {
		if before.State == control.CertificateValid && c.State == control.CertificateNone && now.Before(before.ValidBefore) {
			for _, e := range s.History {
				if e.Kind == "certificate" {
					return []Notice{{Certificate, "", e.Text + "."}}, 0
				}
			}
		}
		return nil, 0
	}
	left := c.ValidBefore.Sub(now)
	if left > expiresSoon {
		return nil, left - expiresSoon
	}
	if w.ending != c.Serial {
		w.ending = c.Serial
		show = []Notice{{Certificate, "", "The session certificate expires within 5 minutes."}}
	}
	return show, 0
}

// phones tells of those that were added or removed, and of those that could not be woken.
func (w *Watcher) phones(s control.Status) (show []Notice) {
	before := map[string]control.Device{}
	for _, p := range w.before.Phones {
		before[p.ID] = p
	}
	for _, p := range s.Phones {
		old, known := before[p.ID]
		delete(before, p.ID)
		if !known {
			show = append(show, Notice{Pairing, "", p.Name + " is paired with this computer now."})
		}
		if p.LastWake != nil && p.LastWake.Error != "" && (old.LastWake == nil || old.LastWake.Error == "") {
			show = append(show, Notice{Ringing, "", fmt.Sprintf("%s could not be rung: %s", p.Name, p.LastWake.Error)})
		}
	}
	for _, p := range w.before.Phones {
		if _, gone := before[p.ID]; gone {
			show = append(show, Notice{Pairing, "", p.Name + " is no longer paired with this computer."})
		}
	}
	return show
}

// Parse reads a list of kinds, with all for every and none for no kind.
func Parse(list []string) ([]Kind, error) {
	switch strings.Join(list, ",") {
	case "all":
		return Kinds, nil
	case "none":
		return nil, nil
	}
	var kinds []Kind
	for _, name := range list {
		if !slices.Contains(Kinds, Kind(name)) {
			return nil, fmt.Errorf("%q is no kind of notification", name)
		}
		kinds = append(kinds, Kind(name))
	}
	return kinds, nil
}
