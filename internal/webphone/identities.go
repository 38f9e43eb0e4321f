package webphone

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// vacant reports why there cannot be a new identity of this label.
func (p *Phone) vacant(label string) error {
	if err := signer.CheckLabel(label); err != nil {
		return &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	list, err := p.signer.Identities()
	if err != nil {
		return err
	}
	for _, id := range list {
		if id.Label == label {
			return &Error{Code: "exists", Message: "Another key has this name.", Hint: "Choose another name."}
		}
	}
	if len(list) >= wire.MaxKeys {
		return &Error{Code: "tooMany", Message: fmt.Sprintf("There are %d keys on this phone, which is the most it holds.", len(list))}
	}
	return nil
}

// added is what a function returns that has made a key.
type added struct {
	Fingerprint string `json:"fingerprint"`
}

// again asks the page to make the WebAuthn call that Prepare now plans.
type again struct {
	Again bool `json:"again"`
}

func (p *Phone) createPasskey(_ context.Context, a arguments) (any, error) {
	id, err := p.registerPasskey(a)
	if err != nil {
		return nil, err
	}
	return p.add(id, p.signer.Add, p.passkeys.Forget)
}

// registerPasskey keeps a new passkey, which nothing refers to yet.
func (p *Phone) registerPasskey(a arguments) (signer.Identity, error) {
	r := a.Registration
	if r == nil {
		return signer.Identity{}, badAnswer(errNotAsked)
	}
	call, err := p.pending.take(signer.ChallengeOf(r.ClientData))
	if err != nil {
		return signer.Identity{}, err
	}
	id, err := p.passkeys.Register(a.Label, *r, call.challenge)
	if err != nil {
		return id, p.noteStorage(err)
	}
	return id, nil
}

// noteStorage leaves errors of the store as they are: they have words of their
// own. All others say what is wrong with a passkey's answer.
func (p *Phone) noteStorage(err error) error {
	if errors.Is(err, ErrStorage) {
		return err
	}
	var told *wire.Error
	if errors.As(err, &told) || errors.Is(err, signer.ErrExists) {
		return err
	}
	return badAnswer(err)
}

// add makes an identity of a key that is stored, or forgets the key.
func (p *Phone) add(id signer.Identity, keep, forget func(signer.Identity) error) (any, error) {
	id.CreatedAt = p.cfg.Now().UTC()
	if err := keep(id); err != nil {
		return nil, errors.Join(err, forget(id))
	}
	p.keysChanged()
	return added{id.Fingerprint()}, nil
}

func (p *Phone) createVault(ctx context.Context, a arguments) (any, error) {
	return p.fillVault(a, func() (crypto.PrivateKey, error) { return p.generate(ctx, a.Algorithm) },
		func(id signer.Identity) (any, error) { return p.add(id, p.signer.Add, p.vault.Forget) })
}

func (p *Phone) importVault(_ context.Context, a arguments) (any, error) {
	return p.fillVault(a, func() (crypto.PrivateKey, error) {
		file := []byte(a.File)
		defer clear(file)
		return signer.ParsePrivateKey(file, []byte(a.Passphrase))
	}, func(id signer.Identity) (any, error) { return p.add(id, p.signer.AddImported, p.vault.Forget) })
}

// generate makes a private key, in the browser where that is faster.
func (p *Phone) generate(ctx context.Context, algorithm string) (crypto.PrivateKey, error) {
	if algorithm == ssh.KeyAlgoRSA && p.cfg.GenerateRSA != nil {
		return p.cfg.GenerateRSA(ctx, signer.MinRSABits)
	}
	return signer.Generate(algorithm)
}

// fillVault puts a key into the vault: with a registration it makes the vault
// first, and asks for another tap where the passkey answers only later.
func (p *Phone) fillVault(a arguments, makeKey func() (crypto.PrivateKey, error), keep func(signer.Identity) (any, error)) (any, error) {
	if a.Registration != nil {
		if err := p.makeVault(*a.Registration); err != nil {
			return nil, err
		}
		if len(a.prf) == 0 {
			return again{true}, nil
		}
		if err := p.vault.Check(a.prf); err != nil {
			return nil, err
		}
	} else if err := p.checkVaultAnswer(a); err != nil {
		return nil, err
	}
	key, err := makeKey()
	if err != nil {
		return nil, err
	}
	id, err := p.vault.Add(a.Label, key, a.prf)
	if err != nil {
		return nil, err
	}
	result, err := keep(id)
	if err == nil {
		p.setFresh(false)
	}
	return result, err
}

func (p *Phone) makeVault(r signer.Registration) error {
	call, err := p.pending.take(signer.ChallengeOf(r.ClientData))
	if err != nil {
		return err
	}
	if r.PRF == nil || !*r.PRF {
		return &Error{
			Code: "prfUnsupported", Message: "This device's passkeys cannot lock a vault: they lack the PRF extension.",
			Hint: "Make a passkey key instead, or use a newer system or another password manager. The passkey just made for the vault can be deleted.",
		}
	}
	if err := p.vault.Register(r, call.challenge, call.salt); err != nil {
		return p.noteStorage(err)
	}
	p.setFresh(true)
	return nil
}

// checkVaultAnswer checks an answer that was asked for to put a key in.
func (p *Phone) checkVaultAnswer(a arguments) error {
	if a.Assertion == nil {
		return badAnswer(errNotAsked)
	}
	call, err := p.pending.take(signer.ChallengeOf(a.Assertion.ClientData))
	if err != nil {
		return err
	}
	return p.openVault(call.challenge, *a.Assertion, a.prf)
}

// openVault checks that the vault's passkey has answered, and with the vault's
// secret.
func (p *Phone) openVault(challenge []byte, a signer.Assertion, prf []byte) error {
	if err := p.vault.Verify(a, challenge); err != nil {
		return badAnswer(err)
	}
	if len(prf) == 0 {
		return &Error{Code: "prfUnsupported", Message: "The vault's passkey gave no secret: this browser or device lacks the PRF extension."}
	}
	return p.vault.Check(prf)
}

// keysChanged tells the page, and the computers, which then ask for the list.
func (p *Phone) keysChanged() {
	if _, node := p.running(); node != nil {
		node.HelloAgain()
	}
	p.changed()
}

func (p *Phone) identity(a arguments) (signer.Identity, error) { return p.signer.Find(a.Fingerprint) }

// changing runs a change of one identity.
func (p *Phone) changing(a arguments, change func(signer.Identity) error) (any, error) {
	id, err := p.identity(a)
	if err != nil {
		return nil, err
	}
	if err := change(id); err != nil {
		return nil, err
	}
	p.keysChanged()
	return nil, nil
}

func (p *Phone) renameIdentity(_ context.Context, a arguments) (any, error) {
	if err := signer.CheckLabel(a.Label); err != nil {
		return nil, &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	return p.changing(a, func(id signer.Identity) error { return p.signer.Rename(id, a.Label) })
}

func (p *Phone) enableIdentity(_ context.Context, a arguments) (any, error) {
	return p.changing(a, func(id signer.Identity) error { return p.signer.SetEnabled(id, a.Enabled) })
}

func (p *Phone) setDefault(_ context.Context, a arguments) (any, error) {
	return p.changing(a, p.signer.SetDefault)
}

func (p *Phone) setPrincipals(_ context.Context, a arguments) (any, error) {
	return p.changing(a, func(id signer.Identity) error { return p.signer.SetPrincipals(id, a.Principals) })
}

// deletedCredential lets the page tell the browser that a passkey is of no more
// use.
type deletedCredential struct {
	CredentialID signer.Base64URL `json:"credentialID,omitempty"`
	RPID         string           `json:"rpID,omitempty"`
}

func (p *Phone) deleteIdentity(_ context.Context, a arguments) (any, error) {
	var gone deletedCredential
	_, err := p.changing(a, func(id signer.Identity) error {
		gone = p.credentialOf(id)
		return p.signer.Delete(id)
	})
	return gone, err
}

func (p *Phone) credentialOf(id signer.Identity) deletedCredential {
	if id.Provider == signer.ProviderPasskey {
		if c, err := p.passkeys.Credential(id); err == nil {
			return deletedCredential{c.ID, c.RPID}
		}
	}
	return deletedCredential{}
}

// line is the identity's line for authorized_keys. A passkey's makes the server
// insist on user verification.
func line(id signer.Identity) string {
	if id.Provider == signer.ProviderPasskey {
		return "verify-required " + id.AuthorizedKey()
	}
	return id.AuthorizedKey()
}

func (p *Phone) exportPublicKeys(context.Context, arguments) (any, error) {
	list, err := p.signer.Identities()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, id := range list {
		b.WriteString(line(id) + "\n")
	}
	return b.String(), nil
}
