package signer

import (
	"errors"
	"fmt"
	"strings"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/admission"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// record is what the log will say of a request, and what follows from its end.
type record struct {
	activity.Record
	pause    *Pause // of the computer, by this denial
	identity string // fingerprint of the identity that was asked for
}

func newRecord(kind string, from device.Peer, e wire.Envelope) record {
	return record{Record: activity.Record{Kind: kind, RequestID: wire.Clean(e.ID), DeviceID: from.ID.String(), DeviceName: from.Name}}
}

func (r *record) decide(err error) {
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

// Reasons of wire.CodePolicyDenied and wire.CodeRequestExpired, as records have them.
const (
	reasonRules  = "rules"  // the identity's
	reasonPolicy = "policy" // the CA's, and the phone's own
	reasonClock  = "clock"
)

// reasonOf tells refusals of one code apart, by a set of words that no computer
// chooses: as many records as these a computer can cause in a minute, and no more.
func reasonOf(code wire.Code, message string) string {
	switch {
	case code == wire.CodeRequestExpired && strings.HasPrefix(message, admission.ClockPrefix):
		return reasonClock
	case code != wire.CodePolicyDenied:
		return ""
	case strings.HasPrefix(message, policy.RulesPrefix):
		return reasonRules
	}
	return reasonPolicy
}

// conclude writes the record of a request that ended with err, and returns what
// the computer is told.
func (s *Signer) conclude(rec record, err error) error {
	rec.decide(err)
	switch {
	case rec.Code == wire.CodeInternalError:
		s.cfg.Log.Error("request failed", "request", rec.RequestID, "err", err)
	case err != nil:
		s.cfg.Log.Info("request refused", "request", rec.RequestID, "decision", rec.Decision, "code", rec.Code)
	}
	if logErr := s.Activity.Write(rec.Record); logErr != nil {
		s.cfg.Log.Error("write activity log", "request", rec.RequestID, "err", logErr)
		if err == nil { // a signature that the log does not know would be a lie by omission
			err = unkept("activity log", logErr)
		}
	}
	if rec.pause != nil && s.cfg.Approver.Paused != nil { // once the log has the denial
		s.cfg.Approver.Paused(*rec.pause)
	}
	return err
}

// unkept tells computer and person what could not be written down, and what to look for.
func unkept(what string, cause error) error {
	return fmt.Errorf("%w (%w)", wire.Errorf(wire.CodeInternalError,
		"The phone cannot write its %s, and signs nothing without it. Is it out of space?", what), cause)
}

// errWithdrawn tells that the computer no longer waits.
var errWithdrawn = errors.New("withdrawn")
