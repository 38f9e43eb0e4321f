package identity

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/webauthn"
)

// Providers of identities whose private key rests encrypted in a browser: under a
// secret that a passkey makes, or one that a passphrase opens.
const (
	ProviderVault      = "vault"
	ProviderPassphrase = "passphrase"
)

// Errors of a vault.
var (
	// ErrNoVault is returned where there is no vault, or none that works yet.
	ErrNoVault = errors.New("this phone has no vault")
	// ErrVaultSecret is returned for a PRF output other than the vault's: the
	// passkey answers differently than it did, as some devices do after an
	// update or when asked through another one.
	ErrVaultSecret = errors.New("the vault's passkey answered with another secret than the one that locks the vault")

	errSecretSize = errors.New("its secret is of another size than the PRF extension's")
	errUnstable   = errors.New("it answers with another secret each time, so that what it locks would stay locked")
)

// Vault keeps private keys under the output of the PRF extension of one passkey.
type Vault struct {
	Sealed       // with ProviderVault
	RelyingParty webauthn.RelyingParty
}

// VaultInfo is what rests of a vault beside its keys.
type VaultInfo struct {
	webauthn.Credential
	SecretInfo
}

// Info returns the vault, or ErrNoVault.
func (v Vault) Info() (VaultInfo, error) {
	info, err := documents.Load[VaultInfo](v.Store, v.Document(), "vault")
	if info == nil {
		return VaultInfo{}, cmp.Or(err, ErrNoVault)
	}
	if len(info.ID) == 0 {
		info.Salt = nil // damaged
	}
	return *info, info.Valid()
}

// NewSalt returns the PRF's input for a new vault. Both alphabets of base64 write it
// alike: a credential manager of Android was seen to refuse others.
func NewSalt() []byte {
	salt := make([]byte, SecretSize)
	for {
		_, _ = rand.Read(salt)
		if !strings.ContainsAny(base64.RawURLEncoding.EncodeToString(salt), "-_") {
			return salt
		}
	}
}

// NewVault is a vault whose passkey was made, and whose secret was not seen twice
// yet. It rests nowhere: some passkeys answer with another secret each time, and
// what those lock is lost.
type NewVault struct {
	VaultInfo
	asked  int // how often get was called for it
	proven bool
}

// Register returns a vault of the passkey that a registration has made.
func (v Vault) Register(r webauthn.Registration, challenge, salt []byte) (*NewVault, error) {
	credential, _, err := v.RelyingParty.Check(r, challenge)
	if err != nil {
		return nil, err
	}
	return &NewVault{VaultInfo: VaultInfo{credential, SecretInfo{Salt: salt}}}, nil
}

// maxGets is how often a passkey is asked for the secret of a new vault: some
// answer otherwise when they are made, and always alike later.
const maxGets = 2

// Registered is told the secret that came with the registration.
func (n *NewVault) Registered(secret []byte) {
	if check, err := n.checkOf(secret); err == nil {
		n.Check = check
	}
}

// Prove is told a secret that the vault's passkey has answered with, and reports
// whether it was the same twice. It fails if it never is.
func (n *NewVault) Prove(secret []byte) (bool, error) {
	check, err := n.checkOf(secret)
	if err != nil {
		return false, err
	}
	n.asked++
	same := bytes.Equal(n.Check, check)
	switch {
	case same:
		n.proven = true
	case n.proven || n.asked >= maxGets:
		return false, errUnstable
	}
	n.Check = check
	return same, nil
}

// Create keeps a vault that is proven. One that still holds a key is not replaced,
// but for itself: a key that could not be forgotten may lie there.
func (v Vault) Create(n *NewVault) error {
	info, _ := v.Info()
	switch empty, err := v.Empty(); {
	case err != nil:
		return err
	case !empty && !bytes.Equal(info.ID, n.ID):
		return ErrExists
	case !n.proven:
		return ErrVaultSecret
	}
	return documents.Save(v.Store, v.Document(), n.VaultInfo)
}

// Verify checks that the vault's own passkey has answered the challenge, with
// the person verified.
func (v Vault) Verify(a webauthn.Assertion, challenge []byte) error {
	info, err := v.Info()
	if err != nil {
		return err
	}
	d, err := v.RelyingParty.Verify(info.Credential, challenge, a)
	if err == nil {
		v.noteBackup(info, d.Flags&sshctx.FlagBackedUp != 0)
	}
	return err
}

// VerifyNew does so for one that is not kept yet.
func (v Vault) VerifyNew(n *NewVault, a webauthn.Assertion, challenge []byte) error {
	_, err := v.RelyingParty.Verify(n.Credential, challenge, a)
	return err
}

// noteBackup keeps whether the passkey has copies now. It is for show: what
// cannot be written is not.
func (v Vault) noteBackup(info VaultInfo, backed bool) {
	if info.BackedUp != backed {
		info.BackedUp = backed
		_ = documents.Save(v.Store, v.Document(), info)
	}
}
