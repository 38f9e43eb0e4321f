package browserphone

import (
	"context"
	"crypto"
	"errors"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const labelCA = "vmux CA"

// noCA reports why no CA of these principals can be made.
func (p *Phone) noCA(principals []string) error {
	_, err := p.signer.CA.Get()
	switch {
	case err == nil:
		return &Error{Code: "exists", Message: "This phone has a certificate authority already."}
	case !errors.Is(err, authority.ErrNoCA):
		return err
	}
	if len(principals) == 0 {
		return &Error{Code: "invalid", Message: "Name at least one user that certificates are for: servers reject a certificate without."}
	}
	if err := policy.CheckPrincipals(principals); err != nil {
		return &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	return nil
}

func (p *Phone) createCA(ctx context.Context, a arguments) (any, error) {
	if err := p.noCA(a.Principals); err != nil {
		return nil, err
	}
	a.Label = labelCA
	switch a.Kind {
	case identity.ProviderVault, identity.ProviderPassphrase:
		makeKey := func() (crypto.PrivateKey, error) { return p.generate(ctx, ssh.KeyAlgoECDSA256) }
		return p.addToVault(a, makeKey, func(id identity.Identity) (any, error) { return p.addCA(id, a.Principals, p.vaultOf(a).Forget) })
	case identity.ProviderPasskey:
		if a.Registration != nil {
			return p.registered(a)
		}
		return p.testPasskey(a, func(id identity.Identity) (any, error) { return p.addCA(id, a.Principals, p.passkeys.Forget) })
	}
	return nil, &Error{Code: "invalid", Message: "A certificate authority is a passkey or lies in the vault."}
}

func (p *Phone) addCA(id identity.Identity, principals []string, forget func(identity.Identity) error) (any, error) {
	if _, err := p.signer.CA.Add(id, principals); err != nil {
		return nil, errors.Join(err, forget(id))
	}
	p.keysChanged()
	return added{id.Fingerprint()}, nil
}

func (p *Phone) setPolicy(_ context.Context, a arguments) (any, error) {
	if a.Policy == nil {
		return nil, &Error{Code: "malformed", Message: "No policy was given."}
	}
	_, err := p.signer.CA.SetPolicy(func(policy *policy.Issuing) { *policy = *a.Policy })
	if err != nil {
		if !errors.Is(err, ErrStorage) && !errors.Is(err, authority.ErrNoCA) {
			err = &Error{Code: "invalid", Message: wire.Show(err.Error())}
		}
		return nil, err
	}
	p.keysChanged()
	return nil, nil
}

func (p *Phone) deleteCA(context.Context, arguments) (any, error) {
	return p.alone(func() (any, error) {
		var gone newkey.Useless
		if ca, err := p.signer.CA.Get(); err == nil {
			gone = p.credentialOf(identity.Identity{Provider: ca.Provider, Ref: ca.Ref})
		}
		if err := p.signer.CA.Delete(); err != nil {
			return nil, err
		}
		p.keysChanged()
		return p.ifGone(gone), nil
	})
}
