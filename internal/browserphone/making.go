package browserphone

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"slices"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// making is a key whose passkey was made and not tried yet. It is nowhere but here:
// what its provider does wrong must be found before its line is on servers. At most
// one of the two is set.
type making struct {
	passkey *identity.NewPasskey
	vault   *identity.NewVault
	// unsure: a store failed while it kept the key, which does not say that nothing
	// was written.
	unsure bool
}

func (p *Phone) making() making {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// swap puts a key that is being made in the place of another, and reports whether
// that one was there.
func (p *Phone) swap(old, made making) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made != old {
		return false
	}
	p.made = made
	return true
}

// begin puts a key in the place of one that was not tried, whose passkey it returns.
func (p *Phone) begin(m making) deletedCredential {
	p.mu.Lock()
	old := p.made
	p.made = m
	p.mu.Unlock()
	gone := old.credential()
	if bytes.Equal(gone.CredentialID, m.credential().CredentialID) {
		return deletedCredential{} // the provider has answered with the same
	}
	return gone
}

// claim takes the key out while it is kept, which waits for the store and may wait for
// the browser's RSA: who closes the sheet meanwhile must not have its passkey deleted.
func (p *Phone) claim(m making) bool { return p.swap(m, making{}) }

// giveBack is for a key that could not be kept: the page may ask again.
func (p *Phone) giveBack(m making, why error) {
	m.unsure = m.unsure || errors.Is(why, ErrStorage)
	p.swap(making{}, m)
}

// credential is the passkey of what is given up, if it is of no use for certain.
func (m making) credential() deletedCredential {
	switch {
	case m.unsure:
	case m.passkey != nil:
		return deletedCredential{m.passkey.Credential.ID, m.passkey.Credential.RPID}
	case m.vault != nil:
		return deletedCredential{m.vault.ID, m.vault.RPID}
	}
	return deletedCredential{}
}

// discardKey gives up a key that was not tried: its passkey is of no use.
func (p *Phone) discardKey(context.Context, arguments) (any, error) {
	return p.begin(making{}), nil
}

// refuse gives up the key that is being made, because of its passkey's provider.
func (p *Phone) refuse(m making, code, message string) error {
	p.swap(m, making{})
	gone := m.credential()
	return &Error{Code: code, Message: message, Hint: hintNoUse, Orphan: &gone}
}

// hintNoUse: what to do about a passkey that was made for nothing.
const hintNoUse = "Create it with another passkey provider (password manager), or on another device. The passkey just made is of no use: delete it where your passkeys are kept."

// again asks the page to make the WebAuthn call that Prepare now plans.
type again struct {
	Again bool `json:"again"`
	// Orphan is a passkey that was given up for another.
	Orphan deletedCredential `json:"orphan,omitzero"`
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
	call, err := p.pending.take(webauthn.ChallengeOf(a.Registration.ClientData))
	if err != nil {
		return nil, p.unregistered(*a.Registration, err)
	}
	var m making
	if call.salt == nil {
		m.passkey, err = p.passkeys.Register(a.Label, *a.Registration, call.challenge)
	} else {
		m.vault, err = p.vault.Register(*a.Registration, call.challenge, call.salt)
	}
	if err != nil {
		return nil, p.unregistered(*a.Registration, badAnswer(err))
	}
	orphan := p.begin(m)
	if m.vault != nil {
		if prf := a.Registration.PRF; prf != nil && !*prf {
			return nil, p.refuse(m, "prfUnsupported", noPRF)
		}
		m.vault.Registered(a.prf)
	}
	return again{true, orphan}, nil
}

// hintInUse: what to do where a provider lets passkeys be written over.
const hintInUse = "Have the password manager save it as a new entry, over none that is there. If it has written over that passkey, the older key cannot sign any more: see that it still works."

// inUse reports whether a key here has the passkey: nobody may be told to delete it, and
// what is known of it stays.
func (p *Phone) inUse(id []byte) bool {
	info, err := p.vault.Info()
	return err == nil && bytes.Equal(info.ID, id) || p.passkeys.Has(id)
}

// unregistered tells the page that the passkey of a registration is of no use.
func (p *Phone) unregistered(r webauthn.Registration, err error) error {
	e := *AsError(err)
	e.Hint, e.Orphan = hintNoUse, &deletedCredential{r.CredentialID(), p.cfg.Host}
	return &e
}

// testPasskey keeps the passkey that is being made, if it can sign for SSH.
func (p *Phone) testPasskey(a arguments, keep func(identity.Identity) (any, error)) (any, error) {
	m := p.making()
	if m.passkey == nil || a.Assertion == nil || !p.claim(m) {
		return nil, badAnswer(errNotAsked)
	}
	id, err := p.passkeys.Keep(m.passkey, *a.Assertion)
	if err != nil && !errors.Is(err, ErrStorage) {
		return nil, p.refuse(m, "unproven", "This passkey cannot sign for SSH: "+wire.Show(err.Error())+".")
	}
	var result any
	if err == nil {
		result, err = keep(id)
	}
	if err != nil {
		p.giveBack(m, err)
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
	return p.fillVault(a, func() (crypto.PrivateKey, error) { return p.generate(ctx, a.Algorithm) },
		func(id identity.Identity) (any, error) { return p.add(id, p.signer.Identities.Add, p.vault.Forget) })
}

func (p *Phone) importVault(_ context.Context, a arguments) (any, error) {
	return p.fillVault(a, func() (crypto.PrivateKey, error) {
		file := []byte(a.File)
		defer clear(file)
		return identity.ParsePrivateKey(file, []byte(a.Passphrase))
	}, func(id identity.Identity) (any, error) {
		return p.add(id, p.signer.Identities.AddImported, p.vault.Forget)
	})
}

// generate makes a private key, in the browser where that is faster.
func (p *Phone) generate(ctx context.Context, algorithm string) (crypto.PrivateKey, error) {
	if algorithm == ssh.KeyAlgoRSA && p.cfg.GenerateRSA != nil {
		return p.cfg.GenerateRSA(ctx, identity.MinRSABits)
	}
	return identity.Generate(algorithm, 0)
}

// fillVault puts a key into the vault. Without a vault, one is made first, whose
// passkey has to answer with the same secret twice.
func (p *Phone) fillVault(a arguments, makeKey func() (crypto.PrivateKey, error), keep func(identity.Identity) (any, error)) (any, error) {
	if a.Registration != nil {
		return p.registered(a)
	}
	m := p.making()
	if m.vault == nil {
		if err := p.checkVaultAnswer(a); err != nil {
			return nil, err
		}
	} else if proven, err := p.proveVault(m, a); err != nil {
		return nil, err
	} else if !proven {
		return again{Again: true}, nil
	} else if !p.claim(m) {
		return nil, badAnswer(errNotAsked)
	}
	result, err := p.alone(func() (any, error) { return p.addToVault(m.vault, a, makeKey, keep) })
	switch {
	case err == nil || m.vault == nil:
	case errors.Is(err, errOtherVault):
		gone := m.credential()
		return nil, &Error{Code: "exists", Message: "Another vault was made meanwhile.", Hint: "Create the key once more: it goes there.", Orphan: &gone}
	default:
		p.giveBack(m, err) // also if it was the passphrase
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

// addToVault makes a key and puts it into the vault, which n is if it is a new one.
func (p *Phone) addToVault(n *identity.NewVault, a arguments, makeKey func() (crypto.PrivateKey, error), keep func(identity.Identity) (any, error)) (any, error) {
	key, err := makeKey()
	if err != nil {
		return nil, err
	}
	if n != nil {
		if err := p.vault.Create(n); err != nil {
			identity.Wipe(key)
			if errors.Is(err, identity.ErrExists) {
				err = errOtherVault
			}
			return nil, err
		}
	}
	if err := p.vault.ForgetStray(key, p.refersTo); err != nil {
		identity.Wipe(key)
		return nil, err
	}
	id, err := p.vault.Add(a.Label, key, a.prf)
	if err != nil {
		return nil, errors.Join(err, p.vault.ForgetEmpty())
	}
	return keep(id)
}

// refersTo reports whether an identity or the CA is the key of a document, also if that
// cannot be told.
func (p *Phone) refersTo(document string) bool {
	list, err := p.signer.Identities.All()
	ca, caErr := p.signer.CA()
	return err != nil || caErr != nil && !errors.Is(caErr, signer.ErrNoCA) || ca.Ref == document ||
		slices.ContainsFunc(list, func(id identity.Identity) bool { return id.Ref == document })
}

const noPRF = "This device's passkeys cannot lock a vault: they lack the PRF extension."

// proveVault takes an answer of the passkey of a vault that is being made.
func (p *Phone) proveVault(m making, a arguments) (proven bool, err error) {
	if a.Assertion == nil {
		return false, badAnswer(errNotAsked)
	}
	call, err := p.pending.take(webauthn.ChallengeOf(a.Assertion.ClientData))
	if err != nil {
		return false, err
	}
	if err = p.vault.VerifyNew(m.vault, *a.Assertion, call.challenge); err == nil {
		if len(a.prf) == 0 {
			return false, p.refuse(m, "prfUnsupported", noPRF)
		}
		proven, err = m.vault.Prove(a.prf)
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
	call, err := p.pending.take(webauthn.ChallengeOf(a.Assertion.ClientData))
	if err != nil {
		return err
	}
	return p.openVault(call.challenge, *a.Assertion, a.prf)
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
