// Package newkey is the key that is being made in a browser: its passkey exists, and was
// not tried yet. It is nowhere but here: what its provider does wrong must be found before
// its line is on servers. Nothing here waits, or knows what a passkey has answered.
package newkey

import (
	"bytes"
	"slices"
	"sync"

	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
)

// maxCalls bounds the calls that have not come back.
const maxCalls = 8

// Key is the one that is being made. At most one of the two is set.
type Key struct {
	Passkey *identity.NewPasskey
	Vault   *identity.NewVault
	// unsure: a store failed while it kept the key, which does not say that nothing
	// was written.
	unsure bool
}

// Useless lets the page tell the browser that a passkey is of no more use.
type Useless struct {
	CredentialID webauthn.Base64URL `json:"credentialID,omitempty"`
	RPID         string             `json:"rpID,omitempty"`
}

// Useless is the passkey of a key that is given up, if it is of no use for certain.
func (k Key) Useless() Useless {
	switch {
	case k.unsure:
	case k.Passkey != nil:
		return Useless{k.Passkey.Credential.ID, k.Passkey.Credential.RPID}
	case k.Vault != nil:
		return Useless{k.Vault.ID, k.Vault.RPID}
	}
	return Useless{}
}

// Call is a WebAuthn call that was planned and has not come back.
type Call struct {
	Challenge []byte
	Salt      []byte // of a new vault
}

// Place holds one key, and the calls that it needs. Safe for concurrent use.
type Place struct {
	mu    sync.Mutex
	key   Key
	calls []Call
}

// Key returns the key that is being made.
func (p *Place) Key() Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key
}

// Begin puts a key in the place of one that was not tried, whose passkey it returns.
func (p *Place) Begin(k Key) Useless {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := p.key.Useless()
	p.key = k
	if bytes.Equal(gone.CredentialID, k.Useless().CredentialID) {
		return Useless{} // the provider has answered with the same
	}
	return gone
}

// Claim takes the key out while it is kept, which waits for the store and may wait for
// the browser's RSA: who closes the sheet meanwhile must not have its passkey deleted. It
// reports whether the key was there.
func (p *Place) Claim(k Key) bool { return p.swap(k, Key{}) }

// GiveUp takes the key out for good.
func (p *Place) GiveUp(k Key) { p.swap(k, Key{}) }

// GiveBack is for a key that could not be kept: the page may ask again. Unsure tells that
// something of it may be written.
func (p *Place) GiveBack(k Key, unsure bool) {
	k.unsure = k.unsure || unsure
	p.swap(Key{}, k)
}

func (p *Place) swap(old, key Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key != old {
		return false
	}
	p.key = key
	return true
}

// Plan notes a call.
func (p *Place) Plan(c Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls[max(0, len(p.calls)-maxCalls+1):], c)
}

// Take returns the call that was planned with a challenge, once.
func (p *Place) Take(challenge []byte) (Call, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.calls, func(c Call) bool { return bytes.Equal(c.Challenge, challenge) })
	if len(challenge) == 0 || i < 0 {
		return Call{}, false
	}
	c := p.calls[i]
	p.calls = slices.Delete(p.calls, i, i+1)
	return c, true
}
