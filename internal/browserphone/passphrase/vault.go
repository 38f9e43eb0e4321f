// Package passphrase is the vault of browsers whose passkeys cannot open one (they lack
// WebAuthn's PRF extension, or there are none): its secret rests encrypted under a key
// that Argon2id makes of a passphrase. It is the weaker vault, since whoever copies the
// browser's storage can guess for as long as he likes. It asks nobody, and keeps neither
// a passphrase nor a secret.
package passphrase

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
)

const (
	// MinSize is the fewest characters that a passphrase may have, whichever they are.
	MinSize = 12
	maxSize = 1 << 10 // bytes
)

// Errors of a vault.
var (
	ErrWrong = errors.New("that is not the passphrase of this phone's vault")
	ErrWeak  = fmt.Errorf("a passphrase has %d characters or more", MinSize)

	errDamaged = errors.New("load vault: the document is damaged")
)

// Vault keeps private keys under a random secret, which a passphrase opens. Safe for
// concurrent use.
type Vault struct {
	identity.Sealed
	now  func() time.Time
	work sync.Mutex // one key is made at a time: each needs much memory
}

// New returns the vault of a store.
func New(store documents.Store, now func() time.Time) *Vault {
	return &Vault{Sealed: identity.Sealed{Store: store, Provider: identity.ProviderPassphrase}, now: now}
}

// info is what rests of the vault beside its keys.
type info struct {
	Version int `json:"version"`
	identity.SecretInfo
	Lock lock `json:"argon2id"`
}

func (v *Vault) info() (info, error) {
	i, err := documents.Load[info](v.Store, v.Document(), "vault")
	if i == nil {
		return info{}, cmp.Or(err, identity.ErrNoVault)
	}
	return *i, i.Valid()
}

// Check reports whether a new vault may open with a passphrase: nil or ErrWeak.
func Check(passphrase []byte) error {
	if utf8.RuneCount(passphrase) < MinSize {
		return ErrWeak
	}
	if len(passphrase) > maxSize {
		return fmt.Errorf("a passphrase has %d bytes at most", maxSize)
	}
	return nil
}

// Open returns the vault's secret: ErrWrong for another passphrase. Where no key is in the
// vault, it is made anew for this one: ErrWeak if that is none. The caller wipes the secret.
func (v *Vault) Open(passphrase []byte) ([]byte, error) {
	empty, err := v.Empty()
	if err != nil {
		return nil, err
	}
	if !empty {
		return v.Unlock(passphrase)
	}
	if err := Check(passphrase); err != nil {
		return nil, err
	}
	secret := random(identity.SecretSize)
	described, err := identity.NewSecretInfo(secret, random(identity.SecretSize))
	if err == nil {
		err = v.lock(described, passphrase, secret)
	}
	if err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

// Unlock returns the secret of a vault that is there: ErrNoVault, or ErrWrong.
func (v *Vault) Unlock(passphrase []byte) ([]byte, error) {
	i, err := v.info()
	if err != nil {
		return nil, err
	}
	if len(passphrase) == 0 || len(passphrase) > maxSize {
		return nil, ErrWrong
	}
	v.work.Lock()
	defer v.work.Unlock()
	return i.Lock.open(passphrase)
}

// Change has the vault open with another passphrase. Its keys stay as they are, and so
// does every copy of the vault that was made before.
func (v *Vault) Change(old, passphrase []byte) error {
	if err := Check(passphrase); err != nil {
		return err
	}
	secret, err := v.Unlock(old)
	if err != nil {
		return err
	}
	defer clear(secret)
	i, err := v.info()
	if err != nil {
		return err
	}
	return v.lock(i.SecretInfo, passphrase, secret)
}

// lock keeps the vault's description, with its secret under the passphrase.
func (v *Vault) lock(described identity.SecretInfo, passphrase, secret []byte) error {
	v.work.Lock()
	locked, err := newLock(passphrase, secret, v.now)
	v.work.Unlock()
	if err != nil {
		return err
	}
	return documents.Save(v.Store, v.Document(), info{Version: 1, SecretInfo: described, Lock: locked})
}
