package activity

import (
	"time"

	"vmux/internal/wire"
)

// Kinds of records, beside "sign", "certificate" and "revocation".
const (
	KindKey     = "key"
	KindCA      = "ca"
	KindGrants  = "grants"
	kindPairing = "pairing"
	kindLog     = "log" // of the log itself
)

// Decisions of records that are no requests: what was done on the phone. A key
// ("key", "ca") is created, imported, added (it stays in another agent), exported,
// deleted, renamed, enabled, disabled or the default, or what it may do is changed. A
// computer ("pairing") is paired or unpaired. Grants are enabled or disabled.
const (
	DecisionCreated  = "created"
	DecisionImported = "imported"
	DecisionAdded    = "added"
	DecisionExported = "exported"
	DecisionDeleted  = "deleted"
	DecisionRenamed  = "renamed"
	DecisionEnabled  = "enabled"
	DecisionDisabled = "disabled"
	DecisionDefault  = "default"
	DecisionChanged  = "changed"
	decisionPaired   = "paired"
	decisionUnpaired = "unpaired"

	decisionDropped = "dropped" // of the log itself
)

// Record is one line of the activity log: what was asked, and what became of
// it; or what was changed on the phone. It holds no secrets and none of the signed
// bytes.
type Record struct {
	// Log is which of the logs it stands in: "" (decisions and changes), "granted" or
	// "refused". Seq counts the records of that log from 1; Prev is the SHA-256 of the
	// line before, in hexadecimal, without its line end. A merged record of the last
	// minute has neither yet. See Log.Verify.
	Log  string `json:"log,omitempty"`
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`

	Time        time.Time           `json:"time"`
	Kind        string              `json:"kind"` // "sign", "certificate", "revocation", "key", "ca", "pairing", "grants", "log"
	RequestID   wire.Text           `json:"requestID"`
	DeviceID    string              `json:"deviceID"`
	DeviceName  wire.Text           `json:"deviceName"`
	Label       wire.Text           `json:"label,omitzero"`
	Key         string              `json:"key,omitempty"` // fingerprint; of a certificate, of the computer's key
	Quality     wire.ContextQuality `json:"contextQuality,omitempty"`
	What        wire.Text           `json:"what,omitzero"` // the sheet's title; of a change, what it is now
	Lines       []Line              `json:"lines,omitempty"`
	Grant       bool                `json:"grant,omitempty"`      // no person was asked: a grant was
	Remembered  bool                `json:"remembered,omitempty"` // nobody typed the passphrase: the phone remembered it
	Decision    string              `json:"decision"`             // approved, denied, expired, withdrawn, refused, revoked; or what was changed
	Code        wire.Code           `json:"code,omitempty"`
	Reason      string              `json:"reason,omitempty"` // tells refusals of one code apart
	Message     wire.Text           `json:"message,omitzero"`
	Serial      string              `json:"serial,omitempty"` // decimal: 64 bits are too many for JSON numbers
	Principals  []string            `json:"principals,omitempty"`
	ValidAfter  string              `json:"validAfter,omitempty"`
	ValidBefore string              `json:"validBefore,omitempty"`

	// Requests that ended without a person's decision are one record for each
	// computer, reason and minute. It says what the first of them was, how many there
	// were (0 is one), when the last one came, and what they asked for.
	Count int       `json:"count,omitempty"`
	Until time.Time `json:"until,omitzero"`
	Asked []Asked   `json:"asked,omitempty"`
	// Keys counts what identities' rules have refused, by fingerprint.
	Keys map[string]int `json:"keys,omitempty"`

	Dropped *Dropped `json:"dropped,omitempty"` // of the log itself

	Joined bool `json:"-"` // the person decided it on another request's sheet
}

// Line is one thing that a sheet says, and how far it can be believed.
type Line struct {
	Name    string              `json:"name"`
	Value   wire.Text           `json:"value"`
	Quality wire.ContextQuality `json:"quality"` // verified by the phone, claimed by the computer, or QualityAsker
	// Warning marks what a person has to acknowledge.
	Warning bool `json:"warning,omitempty"`
}

// QualityAsker is the quality of what only the host says that asks for sudo. The computer
// passes it on, and can no more check it than this phone can.
const QualityAsker wire.ContextQuality = "asker"

// merges reports whether the record is of a request that ended without a person's
// decision: a computer can cause any number of them.
func (r *Record) merges() bool {
	switch r.Decision {
	case "expired", "withdrawn":
		return true
	case "denied":
		return r.Joined // the decision itself is the record of the sheet that listed it
	case "refused":
		// A wrong passphrase is typed after an approval, and by nobody for a grant.
		return r.Grant || r.Code != wire.CodeAuthenticationFailed
	}
	return false
}

// like reports whether two records are merged: nothing of it is the computer's
// choice but what it did.
func (r *Record) like(o *Record) bool {
	return r.DeviceID == o.DeviceID && r.Kind == o.Kind && r.Decision == o.Decision && r.Code == o.Code && r.Reason == o.Reason
}

func sameMinute(a, b time.Time) bool { return a.Truncate(time.Minute).Equal(b.Truncate(time.Minute)) }

// mergeInto counts a record in the list.
func mergeInto(open []Record, r Record) []Record {
	for i := range open {
		if open[i].like(&r) {
			open[i].merge(r)
			return open
		}
	}
	return append(open, r)
}

// merge counts another request. The record keeps what the first one said, and of the
// others what they asked for: at most maxAsked different things, since the computer
// chooses them.
func (r *Record) merge(o Record) {
	if r.Count == 0 {
		r.Count, r.Asked = 1, []Asked{asked(*r)}
	}
	r.Count += o.Times()
	r.Until = o.Time
	r.Asked, _ = countAsked(r.Asked, asked(o), maxAsked)
	for key, n := range o.Keys {
		if r.Keys == nil {
			r.Keys = map[string]int{}
		}
		r.Keys[key] += n
	}
}

// Times is how many requests the record stands for.
func (r *Record) Times() int { return max(r.Count, 1) }

// Last is when the last of the record's requests ended.
func (r *Record) Last() time.Time {
	if r.Until.After(r.Time) {
		return r.Until
	}
	return r.Time
}

// countAsked counts what was asked for in a list of at most so many different things.
func countAsked(list []Asked, a Asked, limit int) ([]Asked, bool) {
	for i := range list {
		if known := list[i]; known.What == a.What && known.Server == a.Server && known.Program == a.Program {
			list[i].Times += a.Times
			return list, true
		}
	}
	if len(list) >= limit {
		return list, false
	}
	return append(list, a), true
}
