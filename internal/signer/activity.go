package signer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	Key         string              `json:"key"` // fingerprint; of a certificate, of the computer's key
	Quality     wire.ContextQuality `json:"contextQuality,omitempty"`
	What        string              `json:"what,omitempty"` // what the signed bytes say
	Decision    string              `json:"decision"`       // approved, denied, expired, withdrawn, refused
	Code        wire.Code           `json:"code,omitempty"`
	Message     string              `json:"message,omitempty"`
	Serial      string              `json:"serial,omitempty"` // decimal: 64 bits are too many for JSON numbers
	Principals  []string            `json:"principals,omitempty"`
	ValidBefore string              `json:"validBefore,omitempty"`
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

func (s *Signer) appendActivity(line []byte) error {
	store := s.cfg.Store
	appender, appends := store.(interface{ Append(string, []byte) error })
	if s.logSize < 0 || !appends {
		b, err := store.Get(activityDocument)
		if err != nil {
			return err
		}
		s.logSize = len(b)
		if !appends {
			line = append(bytes.Clone(b), line...)
			s.logSize = 0
		}
	}
	if s.logSize+len(line) > maxActivity && s.logSize > 0 {
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
