package browserphone

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"slices"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// discardKey gives up a key that was not tried: its passkey is of no use.
func (p *Phone) discardKey(context.Context, arguments) (any, error) {
	return p.made.Begin(newkey.Key{}), nil
}

// refuse gives up the key that is being made, because of its passkey's provider.
func (p *Phone) refuse(m newkey.Key, code, message string) error {
	p.made.GiveUp(m)
	gone := m.Useless()
	return &Error{Code: code, Message: message, Hint: hintNoUse, Orphan: &gone}
}

// hintNoUse: what to do about a passkey that was made for nothing.
const hintNoUse = "Create it with another passkey provider (password manager), or on another device. The passkey just made is of no use: delete it where your passkeys are kept."

// again asks the page to make the WebAuthn call that Prepare now plans.
type again struct {
	Again bool `json:"again"`
	// Orphan is a passkey that was given up for another.
	Orphan newkey.Useless `json:"orphan,omitzero"`
}

func (p *Phone) createPasskey(_ context.Context, a arguments) (any, error) {
	if a.Registration != nil {
		return p.registered(a)
	}
	return p.testPasskey(a, func(id identity.Identity) (any, error) { return p.add(id, p.signer.Identities.Add, p.passkeys.Forget) })
}

// registered has the page try the passkey that it has made.
func (p *Phone) registered(a arguments) (any, error) {
	if p.inUse(a.Registration.CredentialID()) {
		return nil, &Error{Code: "inUse", Message: "The passkey provider answered with a passkey that a key on this phone has already.", Hint: hintInUse}
	}
	call, err := p.planned(webauthn.ChallengeOf(a.Registration.ClientData))
	if err != nil {
		return nil, p.unregistered(*a.Registration, err)
	}
	var m newkey.Key
	if call.Salt == nil {
		m.Passkey, err = p.passkeys.Register(a.Label, *a.Registration, call.Challenge)
	} else {
		m.Vault, err = p.vault.Register(*a.Registration, call.Challenge, call.Salt)
	}
	if err != nil {
		return nil, p.unregistered(*a.Registration, badAnswer(err))
	}
	orphan := p.made.Begin(m)
	if m.Vault != nil {
		if prf := a.Registration.PRF; prf != nil && !*prf {
			return nil, p.refuse(m, "prfUnsupported", noPRF)
		}
		m.Vault.Registered(a.secret)
	}
	return again{true, orphan}, nil
}

// hintInUse: what to do where a provider lets passkeys be written over.
const hintInUse = "Have the password manager save it as a new entry, over none that is there. If it has written over that passkey, the older key cannot sign any more: see that it still works."

// planned returns the call that was planned with a challenge.
func (p *Phone) planned(challenge []byte) (newkey.Call, error) {
	call, ok := p.made.Take(challenge)
	if !ok {
		return call, badAnswer(errNotAsked)
	}
	return call, nil
}

// inUse reports whether a key here has the passkey: nobody may be told to delete it, and
// what is known of it stays.
func (p *Phone) inUse(id []byte) bool {
	info, err := p.vault.Info()
	return err == nil && bytes.Equal(info.ID, id) || p.passkeys.Has(id)
}

// unregistered tells the page that the passkey of a registration is of no use.
func (p *Phone) unregistered(r webauthn.Registration, err error) error {
	e := *AsError(err)
	e.Hint, e.Orphan = hintNoUse, &newkey.Useless{CredentialID: r.CredentialID(), RPID: p.cfg.Host}
	return &e
}

// testPasskey keeps the passkey that is being made, if it can sign for SSH.
func (p *Phone) testPasskey(a arguments, keep func(identity.Identity) (any, error)) (any, error) {
	m := p.made.Key()
	if m.Passkey == nil || a.Assertion == nil || !p.made.Claim(m) {
		return nil, badAnswer(errNotAsked)
	}
	id, err := p.passkeys.Keep(m.Passkey, *a.Assertion)
	if err != nil && !errors.Is(err, ErrStorage) {
		return nil, p.refuse(m, "unproven", "This passkey cannot sign for SSH: "+wire.Show(err.Error())+".")
	}
	var result any
	if err == nil {
		result, err = keep(id)
	}
	if err != nil {
		p.made.GiveBack(m, errors.Is(err, ErrStorage))
	}
	return result, err
}

// add makes an identity of a key that is stored, or forgets the key.
func (p *Phone) add(id identity.Identity, keep, forget func(identity.Identity) error) (any, error) {
	id.CreatedAt = p.cfg.Now().UTC()
	if err := keep(id); err != nil {
		return nil, errors.Join(err, forget(id))
	}
	p.keysChanged()
	return added{id.Fingerprint()}, nil
}

func (p *Phone) createVault(ctx context.Context, a arguments) (any, error) {
	return p.addToVault(a, func() (crypto.PrivateKey, error) { return p.generate(ctx, a.Algorithm) },
		func(id identity.Identity) (any, error) {
			return p.add(id, p.signer.Identities.Add, p.vaultOf(a).Forget)
		})
}

func (p *Phone) importVault(_ context.Context, a arguments) (any, error) {
	return p.addToVault(a, func() (crypto.PrivateKey, error) {
		file := []byte(a.File)
		defer clear(file)
		return identity.ParsePrivateKey(file, []byte(a.Passphrase))
	}, func(id identity.Identity) (any, error) {
		return p.add(id, p.signer.Identities.AddImported, p.vaultOf(a).Forget)
	})
}

// generate makes a private key, in the browser where that is faster.
func (p *Phone) generate(ctx context.Context, algorithm string) (crypto.PrivateKey, error) {
	if algorithm == ssh.KeyAlgoRSA && p.cfg.GenerateRSA != nil {
		return p.cfg.GenerateRSA(ctx, identity.MinRSABits)
	}
	return identity.Generate(algorithm, 0)
}

// fillVault puts keys into the vault. Without a vault, one is made first, whose
// passkey has to answer with the same secret twice: fill is given it for openFor.
func (p *Phone) fillVault(a arguments, fill func(*identity.NewVault) (any, error)) (any, error) {
	if a.Kind == identity.ProviderPassphrase {
		return p.alone(func() (any, error) { return fill(nil) })
	}
	if a.Registration != nil {
		return p.registered(a)
	}
	m := p.made.Key()
	if m.Vault == nil {
		if err := p.checkVaultAnswer(a); err != nil {
			return nil, err
		}
	} else if proven, err := p.proveVault(m, a); err != nil {
		return nil, err
	} else if !proven {
		return again{Again: true}, nil
	} else if !p.made.Claim(m) {
		return nil, badAnswer(errNotAsked)
	}
	result, err := p.alone(func() (any, error) { return fill(m.Vault) })
	switch {
	case err == nil || m.Vault == nil:
	case errors.Is(err, errOtherVault):
		gone := m.Useless()
		return nil, &Error{Code: "exists", Message: "Another vault was made meanwhile.", Hint: "Create the key once more: it goes there.", Orphan: &gone}
	default:
		p.made.GiveBack(m, errors.Is(err, ErrStorage)) // also if it was the passphrase
	}
	return result, err
}

// errOtherVault: the vault that was made is not the first any more.
var errOtherVault = errors.New("another vault was made")

// alone refuses while another key comes or goes. The store may take half a minute for each
// document: a vault that was empty before would be made anew, or forgotten, under a key
// that is on its way into it.
func (p *Phone) alone(change func() (any, error)) (any, error) {
	if !p.oneKey.CompareAndSwap(false, true) {
		return nil, &Error{Code: "busy", Message: "Another key is still being stored or deleted.", Hint: "Try again in a moment."}
	}
	defer p.oneKey.Store(false)
	return change()
}

// vaultOf returns the vault that a new key is for.
func (p *Phone) vaultOf(a arguments) identity.Sealed {
	if a.Kind == identity.ProviderPassphrase {
		return p.typed.Sealed
	}
	return p.vault.Sealed
}

// openFor returns the secret of the vault that a new key is for, which is made where there
// is none: from n, or for the passphrase.
func (p *Phone) openFor(n *identity.NewVault, a arguments) ([]byte, error) {
	if a.Kind == identity.ProviderPassphrase {
		return p.typed.Open(a.secret)
	}
	if n != nil {
		if err := p.vault.Create(n); err != nil {
			if errors.Is(err, identity.ErrExists) {
				err = errOtherVault
			}
			return nil, err
		}
	}
	return a.secret, nil
}

// addToVault makes a key and puts it into its vault.
func (p *Phone) addToVault(a arguments, makeKey func() (crypto.PrivateKey, error), keep func(identity.Identity) (any, error)) (any, error) {
	return p.fillVault(a, func(n *identity.NewVault) (any, error) {
		key, err := makeKey()
		if err != nil {
			return nil, err
		}
		secret, err := p.openFor(n, a)
		defer clear(secret)
		if err != nil {
			identity.Wipe(key)
			return nil, err
		}
		id, err := p.keepKey(p.vaultOf(a), a.Label, key, secret)
		if err != nil {
			return nil, errors.Join(err, p.vaultOf(a).ForgetEmpty())
		}
		return keep(id)
	})
}

// keepKey puts a key into a vault, and wipes it.
func (p *Phone) keepKey(vault identity.Sealed, label string, key crypto.PrivateKey, secret []byte) (identity.Identity, error) {
	if err := vault.ForgetStray(key, p.refersTo); err != nil {
		identity.Wipe(key)
		return identity.Identity{}, err
	}
	return vault.Add(label, key, secret)
}

// refersTo reports whether an identity or the CA is the key of a document, also if that
// cannot be told.
func (p *Phone) refersTo(document string) bool {
	list, err := p.signer.Identities.All()
	ca, caErr := p.signer.CA.Get()
	return err != nil || caErr != nil && !errors.Is(caErr, authority.ErrNoCA) || ca.Ref == document ||
		slices.ContainsFunc(list, func(id identity.Identity) bool { return id.Ref == document })
}

const noPRF = "This device's passkeys cannot lock a vault: they lack the PRF extension. A passphrase can, in a weaker vault."

// proveVault takes an answer of the passkey of a vault that is being made.
func (p *Phone) proveVault(m newkey.Key, a arguments) (proven bool, err error) {
	if a.Assertion == nil {
		return false, badAnswer(errNotAsked)
	}
	call, err := p.planned(webauthn.ChallengeOf(a.Assertion.ClientData))
	if err != nil {
		return false, err
	}
	if err = p.vault.VerifyNew(m.Vault, *a.Assertion, call.Challenge); err == nil {
		if len(a.secret) == 0 {
			return false, p.refuse(m, "prfUnsupported", noPRF)
		}
		proven, err = m.Vault.Prove(a.secret)
	}
	if err != nil {
		return false, p.refuse(m, "unproven", "This passkey cannot lock a vault: "+wire.Show(err.Error())+".")
	}
	return proven, nil
}

// checkVaultAnswer checks an answer that was asked for to put a key in.
func (p *Phone) checkVaultAnswer(a arguments) error {
	if a.Assertion == nil {
		return badAnswer(errNotAsked)
	}
	call, err := p.planned(webauthn.ChallengeOf(a.Assertion.ClientData))
	if err != nil {
		return err
	}
	return p.openVault(call.Challenge, *a.Assertion, a.secret)
}

// openVault checks that the vault's passkey has answered, and with the vault's
// secret.
func (p *Phone) openVault(challenge []byte, a webauthn.Assertion, prf []byte) error {
	if err := p.vault.Verify(a, challenge); err != nil {
		return badAnswer(err)
	}
	if len(prf) == 0 {
		return &Error{Code: "prfUnsupported", Message: "The vault's passkey gave no secret: this browser or device lacks the PRF extension."}
	}
	return p.vault.Check(prf)
}
