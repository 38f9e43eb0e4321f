package signer

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// ProviderPasskey is the provider of identities whose private key is a passkey.
const ProviderPasskey = "passkey"

// Passkeys signs with WebAuthn credentials: the signature is an assertion whose
// challenge is all that is to be signed (OpenSSH PROTOCOL.u2f). The secret that
// Unlock returns is the Assertion in JSON. Identity.Ref is the document with the
// Credential.
type Passkeys struct {
	Store        Store
	RelyingParty RelyingParty
}

// Kind implements Provider.
func (Passkeys) Kind() wire.ProviderKind { return wire.ProviderSecureEnclave }

// Register keeps the credential that a registration has made, in answer to the
// challenge, and returns the identity of its key for Add or AddCA. If those
// fail, Forget undoes it.
func (p Passkeys) Register(label string, r Registration, challenge []byte) (Identity, error) {
	credential, public, err := p.RelyingParty.check(r, challenge)
	if err != nil {
		return Identity{}, err
	}
	blob, err := sshctx.PasskeyBlob(public, p.RelyingParty.ID)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Label: label, Algorithm: ssh.KeyAlgoSKECDSA256, PublicKey: blob, Enabled: true,
		Provider: ProviderPasskey, Ref: credentialDocument(credential.ID),
	}
	return id, putJSON(p.Store, id.Ref, credential)
}

func credentialDocument(credential []byte) string {
	sum := sha256.Sum256(credential)
	return "passkeys/" + hex.EncodeToString(sum[:16])
}

// Credential returns the identity's credential.
func (p Passkeys) Credential(id Identity) (Credential, error) {
	c, err := loadCredential(p.Store, id.Ref)
	if err == nil && c == nil {
		err = wire.Errorf(wire.CodeKeyNotFound, "what the phone knows of the passkey of %s is missing", id.Label)
	}
	if err != nil {
		return Credential{}, err
	}
	return *c, nil
}

func loadCredential(store Store, document string) (*Credential, error) {
	b, err := store.Get(document)
	if err != nil || b == nil {
		return nil, err
	}
	var c Credential
	if json.Unmarshal(b, &c) != nil || c.Version != 1 || len(c.ID) == 0 {
		return nil, errors.New("load passkey: the document is damaged")
	}
	return &c, nil
}

// Forget implements what Signer.Delete looks for. The passkey itself stays on
// the device until its owner deletes it there: no page can.
func (p Passkeys) Forget(id Identity) error { return p.Store.Delete(id.Ref) }

// Sign implements Provider.
func (p Passkeys) Sign(ctx context.Context, id Identity, data []byte, _ string, unlock Unlock) (*ssh.Signature, error) {
	secret, err := unlock(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	var a Assertion
	if err := json.Unmarshal(secret, &a); err != nil {
		return nil, wire.NewError(wire.CodeAuthenticationFailed)
	}
	signature, err := p.Signature(id, data, a)
	if err != nil {
		return nil, wire.Errorf(wire.CodeAuthenticationFailed, "the passkey's answer is no good: %s", err.Error())
	}
	return signature, nil
}

// Signature makes the identity's SSH signature over data of an assertion, and
// checks it the way a server does that demands user verification.
func (p Passkeys) Signature(id Identity, data []byte, a Assertion) (*ssh.Signature, error) {
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if err := p.RelyingParty.checkClientData(a.ClientData, "webauthn.get", data); err != nil {
		return nil, err
	}
	d, err := p.RelyingParty.parseAuthData(a.AuthData)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(a.Signature, &rs); err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return nil, errors.New("malformed signature")
	}
	signature := &ssh.Signature{
		Format: sshctx.FormatWebAuthn, Blob: ssh.Marshal(rs), Rest: ssh.Marshal(sshctx.WebAuthn{
			Flags: d.flags, Counter: d.counter, Origin: p.RelyingParty.Origin,
			ClientData: string(a.ClientData), Extensions: d.rest,
		}),
	}
	if err := sshctx.VerifySignature(key, data, signature); err != nil {
		return nil, err
	}
	p.noteBackup(id, d.flags)
	return signature, nil
}

// noteBackup keeps whether the passkey has copies now. It is for show: what
// cannot be written is not.
func (p Passkeys) noteBackup(id Identity, flags byte) {
	c, err := loadCredential(p.Store, id.Ref)
	backed := flags&sshctx.FlagBackedUp != 0
	if err == nil && c != nil && c.BackedUp != backed {
		c.BackedUp = backed
		_ = putJSON(p.Store, id.Ref, c)
	}
}
