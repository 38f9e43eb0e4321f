package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// Code is an error code of the link protocol. Codes are never reused.
type Code string

// The error codes.
const (
	CodeUserDenied           Code = "userDenied"
	CodeRequestExpired       Code = "requestExpired"
	CodePairingInvalid       Code = "pairingInvalid"
	CodeKeyNotFound          Code = "keyNotFound"
	CodeKeyDisabled          Code = "keyDisabled"
	CodeAlgorithmUnsupported Code = "algorithmUnsupported"
	CodeAuthenticationFailed Code = "authenticationFailed"
	CodePolicyDenied         Code = "policyDenied"
	CodeReplayDetected       Code = "replayDetected"
	CodeSignerBusy           Code = "signerBusy"
	CodeMalformedRequest     Code = "malformedRequest"
	CodeVersionUnsupported   Code = "versionUnsupported"
	CodeInternalError        Code = "internalError"
	CodePaused               Code = "paused"
	CodeMuted                Code = "muted"

	// CodePhoneNotReachable never travels: it is the agent's own finding.
	CodePhoneNotReachable Code = "phoneNotReachable"
)

// Exit statuses of the command line.
const (
	ExitDone           = 0
	ExitFailed         = 1
	ExitUsage          = 2
	ExitNotReachable   = 3
	ExitDenied         = 4
	ExitRequestExpired = 5
)

// Meaning is one row of the table that maps a code to what a person reads and
// to a command's exit status.
type Meaning struct {
	Code     Code
	Sentence string // what happened
	Hint     string // what to do next
	Exit     int
}

const endPause = "if you want to go on now, end it on the phone: on this computer's page, or by `vmux phone pauses end COMPUTER`"

// Meanings lists every code once, in the order of the documentation.
var Meanings = []Meaning{
	{CodeUserDenied, "Denied on the phone.", "run the command again and approve it, or see `vmux phone log` for what was asked", ExitDenied},
	{CodeRequestExpired, "No answer within 60 s.", "look at the phone while the command runs", ExitRequestExpired},
	{CodePairingInvalid, "This computer is no longer paired: run `vmux pair`.", "run `vmux pair` and scan the code with the phone", ExitFailed},
	{CodeKeyNotFound, "The phone has no such key.", "refresh keys: `vmux keys refresh`", ExitFailed},
	{CodeKeyDisabled, "The key is switched off on the phone.", "enable it again on the phone", ExitFailed},
	{CodeAlgorithmUnsupported, "The key cannot make that signature.", "use a key of another algorithm", ExitFailed},
	{CodeAuthenticationFailed, "Biometrics or passphrase failed on the phone.", "run the command again and authenticate on the phone", ExitFailed},
	{CodePolicyDenied, "The phone's policy forbids it.", "change the policy on the phone, or ask for what it allows", ExitDenied},
	{CodePaused, "paused: several requests were denied", endPause, ExitDenied},
	{CodeMuted, "muted: this program is not asked for", endPause, ExitDenied},
	{CodeReplayDetected, "The phone has seen this request before.", "run the command again", ExitFailed},
	{CodeSignerBusy, "Too many requests are waiting on the phone.", "answer or deny what waits there, then run the command again", ExitFailed},
	{CodeMalformedRequest, "The request was malformed.", "bring vmux to the same version on both devices", ExitFailed},
	{CodeVersionUnsupported, "The other device speaks another version of the protocol.", "bring vmux to the same version on both devices", ExitFailed},
	{CodeInternalError, "The phone met an internal error.", "see the phone's log", ExitFailed},
	{CodePhoneNotReachable, "The phone is not reachable.", "open vmux on the phone, or start `vmux phone run` there", ExitNotReachable},
}

// MeaningOf returns the code's row; an unknown code has that of CodeInternalError
// under its own name.
func MeaningOf(c Code) Meaning {
	for _, m := range Meanings {
		if m.Code == c {
			return m
		}
	}
	m := MeaningOf(CodeInternalError)
	m.Code = c
	return m
}

// Error is an error as it stands on the wire: a code and a message for people.
// The message never holds keys, passphrases or the bytes that were sent.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Errorf makes an Error whose message is made fit to be shown.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: Show(fmt.Sprintf(format, args...))}
}

// NewError makes an Error with the code's own sentence.
func NewError(code Code) *Error {
	return &Error{Code: code, Message: MeaningOf(code).Sentence}
}

// Error returns the message, or the code's sentence if there is none.
func (e *Error) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return MeaningOf(e.Code).Sentence
}

// Is reports equality of codes, so that errors.Is(err, wire.NewError(code)) asks
// what a caller decides by.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Check reports what is malformed.
func (e *Error) Check() error {
	if e == nil {
		return nil
	}
	if e.Code == "" {
		return errors.New("error without code")
	}
	return cmp.Or(checkText("code", string(e.Code)), checkText("message", e.Message))
}

// IsDecision reports whether an error is a person's or a policy's decision, after
// which nobody else is asked.
func IsDecision(err error) bool {
	switch CodeOf(err) {
	case CodeUserDenied, CodePolicyDenied, CodePaused, CodeMuted, CodeAuthenticationFailed:
		return true
	}
	return false
}

// CodeOf returns the code that an error carries: CodeRequestExpired for a passed
// deadline, CodeInternalError for an error without one, and "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return CodeRequestExpired
	}
	return CodeInternalError
}

// AsError returns err as it may be told to a peer: an *Error as it is, anything
// else as CodeInternalError without its text, which may name files of this
// machine.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return NewError(CodeOf(err))
}
