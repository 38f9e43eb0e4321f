package browserphone

import (
	"errors"
	"slices"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// Plan is the WebAuthn call that a tap has to make at once, before anything is
// waited for: browsers insist. Both nil: none.
type Plan struct {
	Create *webauthn.CreationOptions `json:"create,omitempty"`
	Get    *webauthn.RequestOptions  `json:"get,omitempty"`
}

// Prepare returns the WebAuthn call that Call of the same name and arguments
// needs, or why it would fail. It waits for nothing, and wipes the secrets: those that a
// person has typed so far.
func (p *Phone) Prepare(name string, args []byte, secrets ...[]byte) (Plan, error) {
	defer wipe(secrets)
	a, err := parseArguments(args)
	if err != nil {
		return Plan{}, err
	}
	a.take(secrets)
	switch name {
	case "approve":
		return p.planApproval(a)
	case "createPasskey":
		return p.planPasskey(a.Label)
	case "createVault":
		if err := p.vacant(a.Label); err != nil {
			return Plan{}, err
		}
		return p.planVault(a.Kind)
	case "importVault":
		if err := p.vacant(a.Label); err != nil {
			return Plan{}, err
		}
		// Trying the passphrase takes longer than a tap lasts.
		_, err := identity.ParsePrivateKey([]byte(a.File), nil)
		if err != nil && (!errors.Is(err, identity.ErrEncrypted) || a.Passphrase == "") {
			return Plan{}, err
		}
		return p.planVault(a.Kind)
	case "createCA":
		return p.planCA(a)
	case "makeBackup":
		if err := backup.CheckPassphrase(a.last); err != nil {
			return Plan{}, &Error{Code: "invalid", Message: asSentence(wire.Show(err.Error()))}
		}
		if empty, err := p.vault.Empty(); err != nil || empty {
			return Plan{}, err
		}
		return p.planUnlock()
	case "restoreBackup":
		if doc, needsKeys := p.opened.Get(); doc == nil {
			return Plan{}, errNoBackup
		} else if needsKeys {
			return p.planVault(a.Kind)
		}
	}
	return Plan{}, nil
}

// planApproval makes sure that the bytes are those of the decision that the
// page shows.
func (p *Phone) planApproval(a arguments) (Plan, error) {
	o, err := p.sheets.Get(a.ID)
	if err != nil {
		return Plan{}, err
	}
	now, challenge, _ := p.sheets.Now(o)
	if o.Prepare != nil && a.Decision != nil {
		if a.Decision.ValiditySeconds != 0 && a.Decision.ValiditySeconds != now.ValiditySeconds ||
			a.Decision.Principals != nil && !slices.Equal(a.Decision.Principals, now.Principals) {
			if err := p.draft(o, a.Decision.signers()); err != nil {
				return Plan{}, err
			}
			_, challenge, _ = p.sheets.Now(o)
		}
	}
	if o.Signing.Provider == identity.ProviderPassphrase {
		return Plan{}, nil
	}
	get, err := p.getOptions(o.Signing, challenge)
	if err != nil {
		return Plan{}, err
	}
	get.Timeout = max(1000, now.Expires-p.cfg.Now().UnixMilli())
	return Plan{Get: get}, nil
}

// getOptions asks for the passkey that a key needs.
func (p *Phone) getOptions(key identity.Identity, challenge []byte) (*webauthn.RequestOptions, error) {
	if key.Provider == identity.ProviderPasskey {
		c, err := p.passkeys.Credential(key)
		if err != nil {
			return nil, err
		}
		return p.passkeys.RelyingParty.AskFor(c, challenge, nil), nil
	}
	info, err := p.vault.Info()
	if err != nil {
		return nil, err
	}
	return p.passkeys.RelyingParty.AskFor(info.Credential, challenge, info.Salt), nil
}

func (p *Phone) planPasskey(label string) (Plan, error) {
	if err := p.vacant(label); err != nil {
		return Plan{}, err
	}
	if n := p.made.Key().Passkey; n != nil && n.Identity.Label == label {
		return Plan{Get: p.passkeys.RelyingParty.AskFor(n.Credential, n.Test(), nil)}, nil
	}
	return p.planCreation("vmux: "+label, nil)
}

func (p *Phone) planCreation(label string, salt []byte) (Plan, error) {
	if problem := p.passkeyProblem(); problem != "" {
		return Plan{}, &Error{Code: "rpUnusable", Message: problem}
	}
	challenge := webauthn.NewChallenge()
	p.made.Plan(newkey.Call{Challenge: challenge, Salt: salt})
	return Plan{Create: p.passkeys.RelyingParty.Creation(label, challenge, salt)}, nil
}

// planVault asks for the vault's passkey, or for a new one where there is no
// vault. A vault without keys is what a crash has left, and its passkey may be gone:
// it is made anew. The other kind of vault needs no passkey.
func (p *Phone) planVault(kind string) (Plan, error) {
	if kind == identity.ProviderPassphrase {
		return Plan{}, nil
	}
	if n := p.made.Key().Vault; n != nil {
		challenge := webauthn.NewChallenge()
		p.made.Plan(newkey.Call{Challenge: challenge})
		return Plan{Get: p.passkeys.RelyingParty.AskFor(n.Credential, challenge, n.Salt)}, nil
	}
	empty, err := p.vault.Empty()
	if err != nil {
		return Plan{}, err
	}
	if empty {
		return p.planCreation("vmux vault", identity.NewSalt())
	}
	return p.planUnlock()
}

// planUnlock asks for the vault's passkey.
func (p *Phone) planUnlock() (Plan, error) {
	challenge := webauthn.NewChallenge()
	get, err := p.getOptions(identity.Identity{Provider: identity.ProviderVault}, challenge)
	if err != nil {
		return Plan{}, err
	}
	p.made.Plan(newkey.Call{Challenge: challenge})
	return Plan{Get: get}, nil
}

func (p *Phone) planCA(a arguments) (Plan, error) {
	if err := p.noCA(a.Principals); err != nil {
		return Plan{}, err
	}
	if a.Kind != identity.ProviderPasskey {
		return p.planVault(a.Kind)
	}
	if n := p.made.Key().Passkey; n != nil && n.Identity.Label == labelCA {
		return Plan{Get: p.passkeys.RelyingParty.AskFor(n.Credential, n.Test(), nil)}, nil
	}
	return p.planCreation(labelCA, nil)
}
