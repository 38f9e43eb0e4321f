package browserphone

import (
	"context"
	"crypto"
	"errors"

	"vmux/internal/browserphone/secondway"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/identity"
)

func (p *Phone) newPassphrase(context.Context, arguments) (any, error) {
	return backup.NewPassphrase(), nil
}

// makeBackup gives the page the encrypted backup, whose passphrase is the last secret. The
// vault's passkey has answered for it, the passphrase of the other vault was typed, or both.
func (p *Phone) makeBackup(_ context.Context, a arguments) (any, error) {
	secrets, err := p.vaultSecrets(a)
	defer func() { wipe(secrets) }()
	if err != nil {
		return nil, err
	}
	made, err := p.signer.Backups.Make(secrets, a.last)
	if err != nil {
		return nil, err
	}
	p.opened.Made(made.Fingerprints)
	return made, nil
}

// backupSaved is told that the file was handed over to be saved: before that it is no way in.
func (p *Phone) backupSaved(context.Context, arguments) (any, error) {
	made := p.opened.TakeMade()
	if len(made) == 0 {
		return nil, nil
	}
	err := p.signer.Backups.Saved(made)
	p.keysChanged() // computers say whether there is a second way in
	return nil, err
}

// vaultSecrets are what opens the vaults that hold keys.
func (p *Phone) vaultSecrets(a arguments) (secrets [][]byte, err error) {
	typed := a.secret
	if empty, err := p.vault.Empty(); err != nil {
		return nil, err
	} else if !empty {
		if err := p.checkVaultAnswer(a); err != nil {
			return nil, err
		}
		secrets, typed = append(secrets, a.secret), a.newSecret
	}
	if empty, err := p.typed.Empty(); err != nil || empty {
		return secrets, err
	}
	secret, err := p.typed.Unlock(typed)
	return append(secrets, secret), err
}

// allKeys are the identities, and the CA's key as one of them.
func (p *Phone) allKeys() ([]identity.Identity, error) {
	keys, err := p.signer.Identities.All()
	if err != nil {
		return nil, err
	}
	ca, err := p.signer.CA.Get()
	if errors.Is(err, authority.ErrNoCA) {
		return keys, nil
	}
	id := ca.Identity()
	id.Label = labelCA
	return append(keys, id), err
}

func (p *Phone) secondWay(s settings) (secondway.State, error) {
	keys, err := p.allKeys()
	return secondway.Of(s.OtherWay, keys, p.passkeys.Copied), err
}

func (p *Phone) hasOtherWay() bool {
	s, err := p.settings()
	return err == nil && s.OtherWay
}

// haveAnotherWay is told that there is a way in of which this phone knows nothing.
func (p *Phone) haveAnotherWay(context.Context, arguments) (any, error) {
	err := p.change(func(s *settings) { s.OtherWay = true })
	p.keysChanged()
	return nil, err
}

// openBackup decrypts a backup with the passphrase that was typed, keeps it for restoreBackup
// and tells what would become of it.
func (p *Phone) openBackup(_ context.Context, a arguments) (any, error) {
	doc, err := backup.Open(a.Backup, a.secret)
	if err != nil {
		return nil, err
	}
	outcomes, err := p.signer.Backups.Restore(doc, nil)
	if err != nil {
		doc.Wipe()
		return nil, err
	}
	found := secondway.NewFound(doc, outcomes)
	p.opened.Put(doc, found.NeedsKeys)
	return found, nil
}

func (p *Phone) closeBackup(context.Context, arguments) (any, error) {
	p.opened.Put(nil, false)
	return nil, nil
}

// restoreBackup adds what is in the backup that was opened. Its keys go into the vault of
// the kind that was chosen, which is made where there is none.
func (p *Phone) restoreBackup(_ context.Context, a arguments) (any, error) {
	doc, needsKeys := p.opened.Get()
	switch {
	case doc == nil:
		return nil, errNoBackup
	case !needsKeys:
		return p.restore(doc, p.vault.Sealed, nil)
	}
	return p.fillVault(a, func(n *identity.NewVault) (any, error) {
		secret, err := p.openFor(n, a)
		defer clear(secret)
		if err != nil {
			return nil, err
		}
		return p.restore(doc, p.vaultOf(a), secret)
	})
}

var errNoBackup = &Error{Code: "notFound", Message: "No backup is open.", Hint: "Choose its file once more."}

func (p *Phone) restore(doc *backup.Document, vault identity.Sealed, secret []byte) (any, error) {
	outcomes, err := p.signer.Backups.Restore(doc, func(label string, key crypto.PrivateKey) (identity.Identity, error) {
		return p.keepKey(vault, label, key, secret)
	})
	if err != nil {
		return nil, errors.Join(err, vault.ForgetEmpty())
	}
	found := secondway.NewFound(doc, outcomes)
	p.opened.Put(nil, false)
	p.keysChanged()
	return found, nil
}
