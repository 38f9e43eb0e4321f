package browserphone

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/browserphone/pagestate"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// vacant reports why there cannot be a new identity of this label.
func (p *Phone) vacant(label string) error {
	if err := identity.CheckLabel(label); err != nil {
		return &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	list, err := p.signer.Identities.All()
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

// keysChanged tells the page, and the computers, which then ask for the list.
func (p *Phone) keysChanged() {
	if _, node := p.running(); node != nil {
		node.HelloAgain()
	}
	p.changed()
}

func (p *Phone) identity(a arguments) (identity.Identity, error) {
	return p.signer.Identities.Find(a.Fingerprint)
}

// changing runs a change of one identity.
func (p *Phone) changing(a arguments, change func(identity.Identity) error) (any, error) {
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
	if err := identity.CheckLabel(a.Label); err != nil {
		return nil, &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	return p.changing(a, func(id identity.Identity) error { return p.signer.Identities.Rename(id, a.Label) })
}

func (p *Phone) enableIdentity(_ context.Context, a arguments) (any, error) {
	return p.changing(a, func(id identity.Identity) error { return p.signer.Identities.SetEnabled(id, a.Enabled) })
}

func (p *Phone) setDefault(_ context.Context, a arguments) (any, error) {
	return p.changing(a, p.signer.Identities.SetDefault)
}

func (p *Phone) setPrincipals(_ context.Context, a arguments) (any, error) {
	return p.changing(a, func(id identity.Identity) error { return p.signer.Identities.SetPrincipals(id, a.Principals) })
}

func (p *Phone) deleteIdentity(_ context.Context, a arguments) (any, error) {
	return p.alone(func() (any, error) {
		var gone newkey.Useless
		_, err := p.changing(a, func(id identity.Identity) error {
			gone = p.credentialOf(id)
			return p.signer.Identities.Delete(id)
		})
		return p.ifGone(gone), err
	})
}

// credentialOf returns the passkey of a key, or of the vault that it lies in.
func (p *Phone) credentialOf(id identity.Identity) newkey.Useless {
	if id.Provider == identity.ProviderPassphrase {
		return newkey.Useless{}
	}
	c, err := p.credential(id)
	if err != nil {
		return newkey.Useless{}
	}
	return newkey.Useless{CredentialID: c.ID, RPID: c.RPID}
}

// ifGone leaves the vault's passkey out as long as other keys lie in the vault.
func (p *Phone) ifGone(c newkey.Useless) newkey.Useless {
	if info, err := p.vault.Info(); err == nil && bytes.Equal(info.ID, c.CredentialID) {
		return newkey.Useless{}
	}
	return c
}

// changePassphrase has the vault that a passphrase opens open with another one.
func (p *Phone) changePassphrase(_ context.Context, a arguments) (any, error) {
	return p.alone(func() (any, error) {
		if err := p.typed.Change(a.secret, a.newSecret); err != nil {
			return nil, err
		}
		err := p.signer.Activity.Write(activity.Record{
			Kind: activity.KindKey, Decision: activity.DecisionChanged, What: wire.Say("the passphrase of the vault"),
		})
		if err != nil { // who takes it for not changed forgets the passphrase that counts
			return nil, &Error{Code: "storage", Message: "The vault opens with the new passphrase, but this could not be written into the log.", Hint: "Keep the new passphrase. Free some space on this device."}
		}
		return nil, nil
	})
}

func (p *Phone) exportPublicKeys(context.Context, arguments) (any, error) {
	list, err := p.signer.Identities.All()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, id := range list {
		b.WriteString(pagestate.Line(id) + "\n")
	}
	return b.String(), nil
}
