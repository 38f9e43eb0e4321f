// Package sheets is what waits for the person in a browser: the requests that are shown,
// and how each is answered and ends. It does not check an answer.
package sheets

import (
	"context"

	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// Outcomes of a sheet.
const (
	OutcomeApproved  = "approved"
	OutcomeDenied    = "denied"
	OutcomeExpired   = "expired"
	OutcomeWithdrawn = "withdrawn" // by the computer, or another phone answered
	OutcomeFailed    = "failed"
)

// Sheet is a request as the page shows it.
type Sheet struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"` // "sign" or "certificate"
	Computer    wire.Text `json:"computer"`
	ComputerID  string    `json:"computerID"`
	Label       wire.Text `json:"label"`       // of the identity that signs or that a certificate is for
	Fingerprint string    `json:"fingerprint"` // the same
	KeyKind     string    `json:"keyKind"`     // of the key that signs: "passkey", "vault" or "passphrase"
	Expires     int64     `json:"expires"`     // Unix milliseconds
	Waiting     int       `json:"waiting"`     // other requests
	Ready       bool      `json:"ready"`       // can be approved

	// Of a signature.
	Quality wire.ContextQuality `json:"quality,omitempty"`
	Title   wire.Text           `json:"title,omitzero"`
	Lines   []activity.Line     `json:"lines,omitempty"`
	// Listed are the lines that it needs where it is one of several on a sheet.
	Listed []activity.Line `json:"listed,omitempty"`
	// MustAcknowledge: the lines have a warning, and approving wants
	// acknowledged: true.
	MustAcknowledge bool `json:"mustAcknowledge,omitempty"`
	// Acknowledgement is the sentence to be confirmed.
	Acknowledgement string `json:"acknowledgement,omitempty"`
	// HostChanged: the warning is that the server had another host key.
	HostChanged bool `json:"hostChanged,omitempty"`
	// Downgraded: the warning is that the login does not name the server.
	Downgraded bool `json:"downgraded,omitempty"`
	// Grantable: the approval may let the like of it pass for a while.
	Grantable bool `json:"grantable,omitempty"`
	// Again, if not 0, is how many requests like this one were approved within a
	// minute: the sheet itself then offers to let the like of it pass.
	Again int `json:"again,omitempty"`

	// Of a certificate.
	Automatic          bool     `json:"automatic,omitempty"`
	ValiditySeconds    int64    `json:"validitySeconds,omitempty"`
	MaxValiditySeconds int64    `json:"maxValiditySeconds,omitempty"`
	Principals         []string `json:"principals,omitempty"`
	Choices            []string `json:"choices,omitempty"`
}

// End is how a sheet ended.
type End struct {
	ID      string    `json:"id"`
	Outcome string    `json:"outcome"`
	Code    wire.Code `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// EndOf says how the request ended that was answered with told.
func EndOf(ctx context.Context, told *wire.Error) End {
	switch {
	case told == nil:
		return End{Outcome: OutcomeApproved}
	case told.Code == wire.CodeUserDenied:
		return End{Outcome: OutcomeDenied}
	case told.Code == wire.CodeRequestExpired:
		return End{Outcome: OutcomeExpired, Message: told.Error()}
	case ctx.Err() != nil:
		return End{Outcome: OutcomeWithdrawn}
	}
	return End{Outcome: OutcomeFailed, Code: told.Code, Message: told.Error()}
}
