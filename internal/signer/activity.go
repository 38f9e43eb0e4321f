package signer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	activityDocument    = "activity.jsonl"
	activityOldDocument = "activity-1.jsonl"
	// maxActivity is when the log is moved to its old document: a computer that
	// asks without end must not fill the phone.
	maxActivity = 4 << 20
)

// Record is one line of the activity log: what was asked, and what became of
// it. It holds no secrets and none of the signed bytes.
type Record struct {
	Time        time.Time           `json:"time"`
	Kind        string              `json:"kind"` // "sign" or "certificate"
	RequestID   string              `json:"requestID"`
	DeviceID    string              `json:"deviceID"`
	DeviceName  string              `json:"deviceName"`
	Label       string              `json:"label,omitempty"`
	Key         string              `json:"key,omitempty"` // fingerprint; of a certificate, of the computer's key
	Quality     wire.ContextQuality `json:"contextQuality,omitempty"`
	What        string              `json:"what,omitempty"` // what the signed bytes say
	Decision    string              `json:"decision"`       // approved, denied, expired, withdrawn, refused
	Code        wire.Code           `json:"code,omitempty"`
	Message     string              `json:"message,omitempty"`
	Serial      string              `json:"serial,omitempty"` // decimal: 64 bits are too many for JSON numbers
	Principals  []string            `json:"principals,omitempty"`
	ValidAfter  string              `json:"validAfter,omitempty"`
	ValidBefore string              `json:"validBefore,omitempty"`
}

func newRecord(kind string, from device.Peer, e wire.Envelope) Record {
	return Record{Kind: kind, RequestID: wire.Show(e.ID), DeviceID: from.ID.String(), DeviceName: wire.Show(from.Name)}
}

func (r *Record) describe(s SignSheet) { r.Quality, r.What = s.Quality, s.What() }

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
	r.Message = wire.AsError(err).Message
}

// What describes the request in one line that is fit to be shown.
func (s SignSheet) What() string {
	k := s.Known
	switch k.Kind {
	case sshctx.HostBound:
		return wire.Show("login as " + k.User + " on the server with host key " + sshctx.Fingerprint(k.HostKey))
	case sshctx.UserAuth:
		return wire.Show("login as " + k.User)
	case sshctx.SSHSIG:
		return wire.Show(k.Namespace + " signature")
	}
	return "unknown"
}

func (s *Signer) record(r Record) error {
	r.Time = s.cfg.Now().UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	line = append(line, '\n')
	return s.locked(func() error { return s.appendActivity(line) })
}

// appendActivity adds a line; the caller holds the lock. A store that can append
// spares writing the whole log again.
func (s *Signer) appendActivity(line []byte) error {
	store := s.cfg.Store
	appender, appends := store.(interface{ Append(string, []byte) error })
	if !appends || s.logSize < 0 {
		old, err := store.Get(activityDocument)
		if err != nil {
			return err
		}
		if len(old) > 0 && old[len(old)-1] != '\n' { // cut off by a crash: what follows stays readable
			line = append([]byte{'\n'}, line...)
		}
		s.logSize = len(old)
		if !appends && s.logSize+len(line) <= maxActivity {
			return store.Put(activityDocument, append(old, line...))
		}
	}
	if s.logSize > 0 && s.logSize+len(line) > maxActivity {
		if err := s.turnOver(); err != nil {
			return err
		}
	}
	s.logSize += len(line)
	if appends {
		return appender.Append(activityDocument, line)
	}
	return store.Put(activityDocument, line)
}

// turnOver keeps the full log as the old one, and the old one no longer.
func (s *Signer) turnOver() error {
	b, err := s.cfg.Store.Get(activityDocument)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.Put(activityOldDocument, b); err != nil {
		return err
	}
	s.logSize = 0
	return s.cfg.Store.Put(activityDocument, nil)
}

// Activity returns the records, oldest first. A last line that a power cut left
// unfinished is left out.
func (s *Signer) Activity() ([]Record, error) {
	var list []Record
	for _, name := range []string{activityOldDocument, activityDocument} {
		b, err := s.cfg.Store.Get(name)
		if err != nil {
			return nil, fmt.Errorf("load activity: %w", err)
		}
		for line := range bytes.Lines(b) {
			var r Record
			if json.Unmarshal(line, &r) == nil {
				list = append(list, r)
			}
		}
	}
	return list, nil
}
