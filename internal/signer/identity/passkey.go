package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// ProviderPasskey is the provider of identities whose private key is a passkey.
const ProviderPasskey = "passkey"

// Passkeys signs with WebAuthn credentials: the signature is an assertion whose
// challenge is all that is to be signed (OpenSSH PROTOCOL.u2f). The secret that
// Unlock returns is the webauthn.Assertion in JSON. Identity.Ref is the document with the
// Credential.
type Passkeys struct {
	Store        documents.Store
	RelyingParty webauthn.RelyingParty
}

// Kind implements Provider.
func (Passkeys) Kind() wire.ProviderKind { return wire.ProviderSecureEnclave }

// NewPasskey is a passkey that was made and has signed nothing yet. It rests
// nowhere: what its provider cannot do would be found at the first login, when its
// public key is on servers already.
type NewPasskey struct {
	Identity   Identity
	Credential webauthn.Credential
	test       []byte
}

// Register returns the passkey that a registration has made, in answer to the
// challenge.
func (p Passkeys) Register(label string, r webauthn.Registration, challenge []byte) (*NewPasskey, error) {
	credential, public, err := p.RelyingParty.Check(r, challenge)
	if err != nil {
		return nil, err
	}
	blob, err := sshctx.PasskeyBlob(public, p.RelyingParty.ID)
	if err != nil {
		return nil, err
	}
	return &NewPasskey{Identity: Identity{
		Label: label, Algorithm: ssh.KeyAlgoSKECDSA256, PublicKey: blob, Enabled: true,
		Provider: ProviderPasskey, Ref: credentialDocument(credential.ID),
	}, Credential: credential, test: NewTest()}, nil
}

// testSize is more than most logins have to sign, with all characters of base64url
// in it, and padded if somebody pads.
const testSize = 1024

// NewTest returns what a new key has to sign. A server takes such a signature for
// nothing: it begins neither with the length of a session ID nor as SSHSIG does.
func NewTest() []byte {
	test := append([]byte("vmux: the test of a new key\x00"), make([]byte, testSize)...)[:testSize]
	_, _ = rand.Read(test[28:])
	return test
}

// Test is the challenge that the passkey has to answer.
func (n *NewPasskey) Test() []byte { return n.test }

// Keep keeps the passkey, if its answer to the test is one that OpenSSH would let
// in, and returns the identity of its key for Add or AddCA. If those fail, Forget
// undoes it.
func (p Passkeys) Keep(n *NewPasskey, a webauthn.Assertion) (Identity, error) {
	if _, err := p.Signature(n.Identity, n.test, a); err != nil {
		return Identity{}, err
	}
	return n.Identity, documents.Save(p.Store, n.Identity.Ref, n.Credential)
}

func credentialDocument(credential []byte) string {
	sum := sha256.Sum256(credential)
	return "passkeys/" + hex.EncodeToString(sum[:16])
}

// Credential returns the identity's credential.
func (p Passkeys) Credential(id Identity) (webauthn.Credential, error) {
	c, err := loadCredential(p.Store, id.Ref)
	if err == nil && c == nil {
		err = wire.Errorf(wire.CodeKeyNotFound, "what the phone knows of the passkey of %s is missing", id.Label)
	}
	if err != nil {
		return webauthn.Credential{}, err
	}
	return *c, nil
}

// Has reports whether a passkey is kept, also if what is known of it cannot be read.
func (p Passkeys) Has(credential []byte) bool {
	c, err := loadCredential(p.Store, credentialDocument(credential))
	return c != nil || err != nil
}

func loadCredential(store documents.Store, document string) (*webauthn.Credential, error) {
	c, err := documents.Load[webauthn.Credential](store, document, "passkey")
	if c != nil && len(c.ID) == 0 {
		return nil, errors.New("load passkey: the document is damaged")
	}
	return c, err
}

// Forget implements what List.Delete looks for. The passkey itself stays on
// the device until its owner deletes it there: no page can.
func (p Passkeys) Forget(id Identity) error { return p.Store.Delete(id.Ref) }

// Sign implements Provider.
func (p Passkeys) Sign(ctx context.Context, id Identity, data []byte, _ string, unlock Unlock) (*ssh.Signature, error) {
	secret, err := unlock(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	var a webauthn.Assertion
	if err := json.Unmarshal(secret, &a); err != nil {
		return nil, wire.NewError(wire.CodeAuthenticationFailed)
	}
	signature, err := p.Signature(id, data, a)
	if err != nil {
		return nil, wire.Errorf(wire.CodeAuthenticationFailed, "the passkey's answer is no good: %s", err.Error())
	}
	return signature, nil
}

// errClientDataForm: client data are right, but in another form than WebAuthn Level 3
// section 5.8.1.1 prescribes, of which OpenSSH compares each byte.
var errClientDataForm = errors.New("its clientDataJSON is not written in the order and form of the standard, which OpenSSH insists on")

// Signature makes the identity's SSH signature over data of an assertion, and
// checks it the way a server does that demands user verification.
func (p Passkeys) Signature(id Identity, data []byte, a webauthn.Assertion) (*ssh.Signature, error) {
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	d, err := p.RelyingParty.Answer(data, a)
	if err != nil {
		return nil, err
	}
	r, s, err := webauthn.ParseSignature(a.Signature)
	if err != nil {
		return nil, err
	}
	signature := &ssh.Signature{
		Format: sshctx.FormatWebAuthn, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: ssh.Marshal(sshctx.WebAuthn{
			Flags: d.Flags, Counter: d.Counter, Origin: p.RelyingParty.Origin,
			ClientData: string(a.ClientData), Extensions: d.Rest,
		}),
	}
	err = sshctx.VerifySignature(key, data, signature)
	if errors.Is(err, sshctx.ErrClientData) { // it says the right things, as was checked above
		err = errClientDataForm
	}
	if err != nil {
		return nil, err
	}
	p.noteBackup(id, d.Flags)
	return signature, nil
}

// Copied reports whether the passkey has copies, as its provider said last.
func (p Passkeys) Copied(id Identity) bool {
	c, err := loadCredential(p.Store, id.Ref)
	return err == nil && c != nil && c.BackedUp
}

// noteBackup keeps whether the passkey has copies now. It is for show: what
// cannot be written is not.
func (p Passkeys) noteBackup(id Identity, flags byte) {
	c, err := loadCredential(p.Store, id.Ref)
	backed := flags&sshctx.FlagBackedUp != 0
	if err == nil && c != nil && c.BackedUp != backed {
		c.BackedUp = backed
		_ = documents.Save(p.Store, id.Ref, c)
	}
}
