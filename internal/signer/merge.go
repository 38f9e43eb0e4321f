package signer

import (
	"strings"
	"time"

	"vmux/internal/wire"
)

// Reasons of wire.CodePolicyDenied and wire.CodeRequestExpired, as records have them.
const (
	reasonRules  = "rules"  // the identity's
	reasonPolicy = "policy" // the CA's, and the phone's own
	reasonClock  = "clock"
)

// clockPrefix begins what a computer is told whose clock differs.
const clockPrefix = "Clocks differ "

// reasonOf tells refusals of one code apart, by a set of words that no computer
// chooses: as many records as these a computer can cause in a minute, and no more.
func reasonOf(code wire.Code, message string) string {
	switch {
	case code == wire.CodeRequestExpired && strings.HasPrefix(message, clockPrefix):
		return reasonClock
	case code != wire.CodePolicyDenied:
		return ""
	case strings.HasPrefix(message, rulesPrefix):
		return reasonRules
	}
	return reasonPolicy
}

// merges reports whether the record is of a request that ended without a person's
// decision: a computer can cause any number of them.
func (r *Record) merges() bool {
	switch r.Decision {
	case "expired", "withdrawn":
		return true
	case "denied":
		return r.joined // the decision itself is the record of the sheet that listed it
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
