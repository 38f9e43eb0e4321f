package signer

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Sizes at which a log's document becomes the older one, in bytes: a computer that
// asks without end must not fill the phone. Each log has two documents at most.
const (
	maxDecisions = 4 << 20
	maxGranted   = 2 << 20
	maxRefused   = 2 << 20
)

// Kinds of records, beside "sign", "certificate" and "revocation".
const (
	kindKey     = "key"
	kindCA      = "ca"
	kindPairing = "pairing"
	kindGrants  = "grants"
	kindLog     = "log" // of the log itself
)

const decisionDropped = "dropped"

// Record is one line of the activity log: what was asked, and what became of
// it; or what was changed on the phone. It holds no secrets and none of the signed
// bytes.
type Record struct {
	// Log is which of the logs it stands in: "" (decisions and changes), "granted" or
	// "refused". Seq counts the records of that log from 1; Prev is the SHA-256 of the
	// line before, in hexadecimal, without its line end. A merged record of the last
	// minute has neither yet. See VerifyActivity.
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
	What        wire.Text           `json:"what,omitzero"` // SignSheet.Title; of a change, what it is now
	Lines       []Line              `json:"lines,omitempty"`
	Grant       bool                `json:"grant,omitempty"` // no person was asked: a grant was
	Decision    string              `json:"decision"`        // approved, denied, expired, withdrawn, refused, revoked; or what was changed: see changes.go
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

	joined   bool   // the person decided it on another request's sheet
	pause    *Pause // of the computer, by this denial
	identity string // fingerprint of the identity that was asked for
}

func newRecord(kind string, from device.Peer, e wire.Envelope) Record {
	return Record{Kind: kind, RequestID: wire.Clean(e.ID), DeviceID: from.ID.String(), DeviceName: from.Name}
}

func (r *Record) describe(s SignSheet) {
	r.Quality, r.What, r.Lines = s.Quality, s.Title(), s.Lines()
}

func (r *Record) decide(err error) {
	r.Code = wire.CodeOf(err)
	switch r.Code {
	case "":
		r.Decision = "approved"
		return
	case wire.CodeUserDenied:
		r.Decision = "denied"
	case wire.CodeRequestExpired:
		r.Decision = "expired"
	default:
		r.Decision = "refused"
	}
	if errors.Is(err, errWithdrawn) {
		r.Decision, r.Code = "withdrawn", ""
		return
	}
	r.Message = wire.Clean(wire.AsError(err).Message)
	if r.Reason = reasonOf(r.Code, r.Message.String()); r.Reason == reasonRules && r.identity != "" {
		r.Keys = map[string]int{r.identity: 1}
	}
}

// books are the logs of a store.
type books struct{ decisions, granted, refused book }

func newBooks(store Store) books {
	return books{
		decisions: book{store: store, name: "activity", log: logDecisions, limit: maxDecisions},
		granted:   book{store: store, name: "activity-granted", log: logGranted, limit: maxGranted},
		refused:   book{store: store, name: "activity-refused", log: logRefused, limit: maxRefused},
	}
}

func (b *books) all() []*book { return []*book{&b.decisions, &b.granted, &b.refused} }

// record writes a record to the log, and to the disk, before it returns.
func (s *Signer) record(r Record) error {
	return s.locked(func() error { return s.write(r) })
}

// write is record for who holds the lock.
func (s *Signer) write(r Record) error {
	r.Time = s.cfg.Now().UTC()
	switch {
	case r.merges():
		return s.books.refused.merge(r)
	case r.Grant:
		return s.books.granted.append(r)
	}
	return s.books.decisions.append(r)
}

// Activity returns the records of all logs, oldest first. A line that a power cut
// left unfinished is left out.
func (s *Signer) Activity() ([]Record, error) {
	var all []Record
	for _, b := range s.readers().all() {
		records, err := b.records()
		if err != nil {
			return nil, err
		}
		all = inOrder(all, records)
	}
	return all, nil
}

// readers are the logs as they rest: reading takes no lock.
func (s *Signer) readers() *books {
	b := newBooks(s.cfg.Store)
	return &b
}

// inOrder merges two lists by time, and keeps the order in each: a clock that went
// back has turned nothing around.
func inOrder(a, b []Record) []Record {
	list := make([]Record, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].Time.Before(a[0].Time) {
			list, b = append(list, b[0]), b[1:]
		} else {
			list, a = append(list, a[0]), a[1:]
		}
	}
	return append(append(list, a...), b...)
}

// ExportActivity returns the logs as they rest, one after the other, each oldest
// first: one JSON record on each line. The chains can be verified in the copy as
// well.
func (s *Signer) ExportActivity() ([]byte, error) {
	var export []byte
	for _, b := range s.readers().all() {
		h, err := b.head()
		if err != nil {
			h = nil // what is open is lost with it
		}
		lines, err := b.lines()
		if err != nil {
			return nil, err
		}
		for _, r := range h.stillOpen(lines) {
			r.Log = b.log
			line, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
		}
		if len(lines) > 0 {
			export = append(append(export, bytes.Join(lines, []byte{'\n'})...), '\n')
		}
	}
	return export, nil
}
