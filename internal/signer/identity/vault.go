package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// ProviderVault is the provider of identities whose private key rests encrypted
// under a secret that a passkey makes.
const ProviderVault = "vault"

const (
	vaultDocument = "vault.json"
	vaultPrefix   = "vault/"
	// PRFSize is the size of a PRF output (WebAuthn Level 3 section 10.1.4) and
	// of the salt it is made from, in bytes.
	PRFSize = 32

	infoVaultKey   = "vmux vault key v1"
	infoVaultCheck = "vmux vault check v1"
	vaultBinding   = "vmux vault key v1\x00"
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

// Vault keeps private keys encrypted with AES-256-GCM under a key that follows
// (HKDF-SHA256) from the output of the PRF extension of one passkey. That output
// is the secret that Unlock returns. Identity.Ref is the document with the
// encrypted key.
type Vault struct {
	Store        documents.Store
	RelyingParty webauthn.RelyingParty
}

// VaultInfo is what rests of a vault beside its keys.
type VaultInfo struct {
	webauthn.Credential
	Salt webauthn.Base64URL `json:"salt"` // the PRF's input
	// Check follows from the vault's secret and tells it from others.
	Check webauthn.Base64URL `json:"check"`
}

// sealedKey is a private key as it rests.
type sealedKey struct {
	Version int                `json:"version"`
	Nonce   webauthn.Base64URL `json:"nonce"`
	Sealed  webauthn.Base64URL `json:"sealed"` // PKCS #8
}

// Info returns the vault, or ErrNoVault.
func (v Vault) Info() (VaultInfo, error) {
	info, err := documents.Load[VaultInfo](v.Store, vaultDocument, "vault")
	if info == nil {
		return VaultInfo{}, cmp.Or(err, ErrNoVault)
	}
	if len(info.ID) == 0 || len(info.Salt) != PRFSize || len(info.Check) != sha256.Size {
		return VaultInfo{}, errors.New("load vault: the document is damaged")
	}
	return *info, nil
}

// NewSalt returns the PRF's input for a new vault. Both alphabets of base64 write it
// alike: a credential manager of Android was seen to refuse others.
func NewSalt() []byte {
	salt := make([]byte, PRFSize)
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
	return &NewVault{VaultInfo: VaultInfo{Credential: credential, Salt: salt}}, nil
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
	return documents.Save(v.Store, vaultDocument, n.VaultInfo)
}

// Empty reports whether no key is in the vault.
func (v Vault) Empty() (bool, error) {
	n, err := v.Keys()
	return n == 0, err
}

// Keys counts the keys in the vault.
func (v Vault) Keys() (int, error) {
	names, err := v.Store.List(vaultPrefix)
	return len(names), err
}

// checkOf returns what tells a secret from others.
func (i VaultInfo) checkOf(secret []byte) ([]byte, error) {
	if len(secret) != PRFSize {
		return nil, errSecretSize
	}
	check, err := hkdf.Key(sha256.New, secret, i.Salt, infoVaultCheck, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the vault's check value: %w", err)
	}
	return check, nil
}

// Check reports whether secret is the vault's: nil, ErrNoVault or ErrVaultSecret.
func (v Vault) Check(secret []byte) error {
	info, err := v.Info()
	if err != nil {
		return err
	}
	check, err := info.checkOf(secret)
	if errors.Is(err, errSecretSize) {
		return ErrVaultSecret
	}
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(info.Check, check) != 1 {
		return ErrVaultSecret
	}
	return nil
}

// Add encrypts a private key and keeps it, and returns its identity for
// List.Add or AddCA. If those fail, Forget undoes it. It wipes the key.
func (v Vault) Add(label string, key crypto.PrivateKey, secret []byte) (Identity, error) {
	if k, ok := key.(*ed25519.PrivateKey); ok {
		key = *k
	}
	defer Wipe(key)
	if err := v.Check(secret); err != nil {
		return Identity{}, err
	}
	public, err := publicKey(key)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Label: label, Algorithm: public.Type(), PublicKey: public.Marshal(), Enabled: true, Provider: ProviderVault,
	}
	id.Ref = sealedDocument(id.PublicKey)
	if old, err := v.Store.Get(id.Ref); err != nil || old != nil {
		return Identity{}, errors.Join(err, ErrExists)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, errors.New("this private key cannot be kept in a vault")
	}
	defer clear(plain)
	aead, err := v.aead(secret)
	if err != nil {
		return Identity{}, err
	}
	sealed := sealedKey{Version: 1, Nonce: make([]byte, aead.NonceSize())}
	_, _ = rand.Read(sealed.Nonce)
	sealed.Sealed = aead.Seal(nil, sealed.Nonce, plain, binding(id))
	return id, documents.Save(v.Store, id.Ref, sealed)
}

func sealedDocument(public []byte) string {
	sum := sha256.Sum256(public)
	return vaultPrefix + hex.EncodeToString(sum[:16])
}

// ForgetStray removes what lies in the vault of a key that nothing uses: a store that
// failed while it was added failed to forget it, too, and Add would refuse it for ever.
func (v Vault) ForgetStray(key crypto.PrivateKey, used func(ref string) bool) error {
	public, err := publicKey(key)
	if err != nil {
		return nil // Add says so
	}
	ref := sealedDocument(public.Marshal())
	if old, err := v.Store.Get(ref); err != nil || old == nil || used(ref) {
		return err
	}
	return v.Store.Delete(ref)
}

// binding is the associated data: an encrypted key that stands under another
// identity's name does not decrypt.
func binding(id Identity) []byte { return append([]byte(vaultBinding), id.PublicKey...) }

func (v Vault) aead(secret []byte) (cipher.AEAD, error) {
	info, err := v.Info()
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, info.Salt, infoVaultKey, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the vault's key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Unattended tells that a secret given once serves for a grant.
func (Vault) Unattended() bool { return true }

// Kind implements Provider.
func (Vault) Kind() wire.ProviderKind { return wire.ProviderUnknown }

// Forget destroys the encrypted key, and the vault's description with the last
// one: a vault without keys is made anew when it is needed.
func (v Vault) Forget(id Identity) error {
	if err := v.Store.Delete(id.Ref); err != nil {
		return err
	}
	return v.ForgetEmpty()
}

// ForgetEmpty destroys a vault's description if no key is in it.
func (v Vault) ForgetEmpty() error {
	if empty, err := v.Empty(); err != nil || !empty {
		return err
	}
	return v.Store.Delete(vaultDocument)
}

// Sign implements Provider.
func (v Vault) Sign(ctx context.Context, id Identity, data []byte, algorithm string, unlock Unlock) (*ssh.Signature, error) {
	secret, err := unlock(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	key, err := v.open(id, secret)
	if errors.Is(err, ErrVaultSecret) {
		return nil, wire.Errorf(wire.CodeAuthenticationFailed, "%s", err.Error())
	}
	if err != nil {
		return nil, err
	}
	defer Wipe(key)
	return signRaw(key, data, algorithm)
}

func (v Vault) open(id Identity, secret []byte) (crypto.PrivateKey, error) {
	if err := v.Check(secret); err != nil {
		return nil, err
	}
	b, err := v.Store.Get(id.Ref)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	if b == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "the encrypted key of %s is missing on the phone", id.Label)
	}
	aead, err := v.aead(secret)
	if err != nil {
		return nil, err
	}
	var sealed sealedKey
	if json.Unmarshal(b, &sealed) != nil || sealed.Version != 1 || len(sealed.Nonce) != aead.NonceSize() {
		return nil, errDamagedKey
	}
	plain, err := aead.Open(nil, sealed.Nonce, sealed.Sealed, binding(id))
	if err != nil {
		return nil, errDamagedKey
	}
	defer clear(plain)
	key, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, errDamagedKey
	}
	if public, err := publicKey(key); err != nil || !bytes.Equal(public.Marshal(), id.PublicKey) {
		Wipe(key)
		return nil, errDamagedKey
	}
	return key, nil
}

var errDamagedKey = errors.New("the encrypted key is damaged")

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
		_ = documents.Save(v.Store, vaultDocument, info)
	}
}
