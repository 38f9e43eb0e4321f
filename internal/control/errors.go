package control

import (
	"errors"
	"fmt"

	"vmux/internal/wire"
)

// Codes of the control socket itself, beside those of wire.
const (
	CodeNoSuchDevice  wire.Code = "noSuchDevice"
	CodeNoCA          wire.Code = "noCA"
	CodeCAChanged     wire.Code = "caChanged"
	CodeNotPaired     wire.Code = "notPaired"
	CodeInvalid       wire.Code = "invalidArgument"
	CodeBusy          wire.Code = "busy"
	CodeAddRefused    wire.Code = "addRefused"
	CodeRemoveRefused wire.Code = "removeRefused"
	CodeNoPage        wire.Code = "noPage"
	CodeOtherUser     wire.Code = "otherUser"
	CodeNotWaiting    wire.Code = "notWaiting"
	// CodeUpstreamFailed tells that the upstream agent has refused, or was not reached.
	CodeUpstreamFailed wire.Code = "upstreamFailed"
)

// ErrNotRunning tells that no agent serves the control socket.
var ErrNotRunning = errors.New("the agent is not running")

// Error is a failure as the control socket tells it.
type Error struct {
	Code     wire.Code `json:"code"`
	Sentence string    `json:"sentence"`
	Hint     string    `json:"hint,omitempty"`
}

// Errorf makes an Error.
func Errorf(code wire.Code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Sentence: fmt.Sprintf(format, args...), Hint: hint}
}

// AsError makes an Error of any error. A code's own hint is added; what has no
// code is the agent's own trouble, and not the phone's.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var coded *wire.Error
	if !errors.As(err, &coded) {
		return &Error{Code: wire.CodeOf(err), Sentence: err.Error(), Hint: "see the agent's log"}
	}
	return &Error{Code: coded.Code, Sentence: coded.Error(), Hint: wire.MeaningOf(coded.Code).Hint}
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Sentence }

// Unwrap returns the *wire.Error of the same code, whose row in wire.Meanings
// tells the exit status.
func (e *Error) Unwrap() error { return &wire.Error{Code: e.Code, Message: e.Sentence} }
