// Package identity is the phone's keys: what rests of each, who holds the private half (an
// encrypted file, a passkey, a vault that a passkey opens), and what is changed of them. It
// does not decide what they sign.
package identity

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Names of the native providers.
const (
	ProviderFile     = "file"
	ProviderUpstream = "upstream"
)

// Errors of identities.
var (
	ErrNoIdentity = errors.New("no such identity")
	ErrAmbiguous  = errors.New("names more than one identity")
	ErrExists     = errors.New("there is such an identity already")
)

// Identity is one SSH key pair as it rests on the phone: everything but the
// private key.
type Identity struct {
	Label     string    `json:"label"`
	Algorithm string    `json:"algorithm"` // OpenSSH key type
	PublicKey []byte    `json:"publicKey"` // blob
	Enabled   bool      `json:"enabled"`
	Default   bool      `json:"default,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Provider  string    `json:"provider"`
	// Ref is the provider's own: for "file" the document with the encrypted
	// key, for "upstream" the agent's socket.
	Ref string `json:"ref"`
	// Principals go into session certificates for this identity; empty means
	// those of the CA's policy.
	Principals []string `json:"principals,omitempty"`
	// Rules say what it may be used for.
	Rules policy.Rules `json:"rules,omitzero"`
	// BackedUp is when a backup that holds it was saved last; zero: never.
	BackedUp time.Time `json:"backedUp,omitzero"`
}

// Fingerprint is the text of `ssh-keygen -l`.
func (i Identity) Fingerprint() string { return sshctx.Fingerprint(i.PublicKey) }

// AuthorizedKey returns the identity's line for authorized_keys, without a
// newline.
func (i Identity) AuthorizedKey() string {
	key, err := ssh.ParsePublicKey(i.PublicKey)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + i.Label
}

// Provider holds private keys, or knows who does.
type Provider interface {
	Kind() wire.ProviderKind
	// Sign makes an SSH signature with the algorithm, one that the identity's
	// key type can make. Errors that are a *wire.Error are told to the asker.
	Sign(ctx context.Context, id Identity, data []byte, algorithm string, unlock Unlock) (*ssh.Signature, error)
}

// Unlock asks the person for the secret that protects a key; attempt counts
// from 1. The provider wipes what it gets.
type Unlock func(ctx context.Context, attempt int) ([]byte, error)

// CheckLabel reports why a text cannot be an identity's label.
func CheckLabel(label string) error {
	if label == "" || len(label) > wire.MaxNameSize || !wire.Printable(label) || strings.TrimSpace(label) != label {
		return policy.Invalid("a label is 1 to %d bytes of printable text without space at its ends", wire.MaxNameSize)
	}
	return nil
}

// RefusedByRules counts the requests of a record that the identity's rules have
// refused.
func (i Identity) RefusedByRules(r activity.Record) int { return r.Keys[i.Fingerprint()] }
