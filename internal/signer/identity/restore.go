package identity

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/policy"
)

// Opener is a provider whose private keys can be taken out, and put in.
type Opener interface {
	// TakeOut returns the private key of an identity. A secret that is not the key's is
	// ErrWrongPassphrase or ErrVaultSecret.
	TakeOut(id Identity, secret []byte) (crypto.PrivateKey, error)
	Forget(id Identity) error
}

// Check reports why an identity that comes from elsewhere cannot be one of these.
func (i Identity) Check() error {
	key, err := ssh.ParsePublicKey(i.PublicKey)
	if err != nil || key.Type() != i.Algorithm {
		return errors.New("the public key does not fit its algorithm")
	}
	return errors.Join(CheckLabel(i.Label), policy.CheckPrincipals(i.Principals), i.Rules.Check())
}

// Exported notes in the log that the private keys of identities leave this phone, and how.
func (l *List) Exported(list []Identity, how string) error {
	for _, id := range list {
		if err := l.cfg.Log.Write(*keyRecord(id, activity.DecisionExported, how)); err != nil {
			return err
		}
	}
	return nil
}

// Restore adds identities whose keys their providers hold already: all of them or none.
// They keep what they may do; the default of this phone stays the default.
func (l *List) Restore(restored []Identity, from string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return err
	}
	hadDefault := slices.ContainsFunc(list, func(i Identity) bool { return i.Default })
	for _, id := range restored {
		id.Default = id.Default && !hadDefault
		hadDefault = hadDefault || id.Default
		list = append(list, id)
	}
	if !hadDefault && len(list) > 0 {
		list[0].Default = true
	}
	doc := identityDocument{Version: 1, Identities: list}
	if _, err := doc.check(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, id := range restored {
		if err := id.Check(); err != nil {
			return err
		}
		if l.cfg.Taken(id.PublicKey) {
			return errors.New("the CA's key cannot be an identity: it would sign what looks like a certificate")
		}
		if err := l.cfg.Log.Write(*keyRecord(id, activity.DecisionImported, id.Algorithm+", "+id.Provider+", "+from)); err != nil {
			return err
		}
	}
	return documents.Save(l.cfg.Store, identitiesDocument, doc)
}

// TakeBack undoes Restore; the providers forget the keys themselves.
func (l *List) TakeBack(restored []Identity) error {
	return l.change(func(list []Identity) ([]Identity, *activity.Record, error) {
		return slices.DeleteFunc(list, func(i Identity) bool { return index(restored, i.PublicKey) >= 0 }), nil, nil
	})
}
