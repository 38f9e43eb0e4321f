package signer

import (
	"errors"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Record is one line of the activity log: what was asked, and what became of
// it. It holds no secrets and none of the signed bytes.
type Record struct {
	// Seq counts the records from 1; Prev is the SHA-256 of the line before, in
	// hexadecimal, without its line end. See VerifyActivity.
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`

	Time        time.Time           `json:"time"`
	Kind        string              `json:"kind"` // "sign" or "certificate"
	RequestID   string              `json:"requestID"`
	DeviceID    string              `json:"deviceID"`
	DeviceName  string              `json:"deviceName"`
	Label       string              `json:"label,omitempty"`
	Key         string              `json:"key,omitempty"` // fingerprint; of a certificate, of the computer's key
	Quality     wire.ContextQuality `json:"contextQuality,omitempty"`
	What        string              `json:"what,omitempty"` // SignSheet.Title
	Lines       []Line              `json:"lines,omitempty"`
	Grant       bool                `json:"grant,omitempty"` // no person was asked: a grant was
	Decision    string              `json:"decision"`        // approved, denied, expired, withdrawn, refused
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
	r.Message = wire.AsError(err).Message
}
