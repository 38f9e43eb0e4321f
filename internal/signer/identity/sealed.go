package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/documents"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

const (
	infoVaultKey   = "vmux vault key v1"
	infoVaultCheck = "vmux vault check v1"
	vaultBinding   = "vmux vault key v1\x00"
)

// Sealed keeps the private keys of a vault, encrypted with AES-256-GCM under a key
// that follows (HKDF-SHA256) from the vault's secret, which Unlock returns. How that
// secret is come by is the vault's own. Identity.Ref is the document with the
// encrypted key.
type Sealed struct {
	Store documents.Store
	// Provider names the vault and its documents.
	Provider string
}

// SecretInfo is what a vault's description tells of its secret.
type SecretInfo struct {
	Salt webauthn.Base64URL `json:"salt"` // of SecretSize; of a passkey's vault also the PRF's input
	// Check follows from the vault's secret and tells it from others.
	Check webauthn.Base64URL `json:"check"`
}

// SecretSize is the size of a vault's secret and of its salt, in bytes: that of a PRF
// output (WebAuthn Level 3 section 10.1.4).
const SecretSize = 32

// Document names the vault's description.
func (s Sealed) Document() string { return s.Provider + ".json" }

func (s Sealed) prefix() string { return s.Provider + "/" }

// secret returns what tells the vault's secret, or ErrNoVault.
func (s Sealed) secret() (SecretInfo, error) {
	info, err := documents.Load[SecretInfo](s.Store, s.Document(), "vault")
	if info == nil {
		return SecretInfo{}, cmp.Or(err, ErrNoVault)
	}
	return *info, info.Valid()
}

// Valid reports whether a description was read as it was written.
func (i SecretInfo) Valid() error {
	if len(i.Salt) != SecretSize || len(i.Check) != sha256.Size {
		return errors.New("load vault: the document is damaged")
	}
	return nil
}

// NewSecretInfo describes a secret.
func NewSecretInfo(secret, salt []byte) (SecretInfo, error) {
	i := SecretInfo{Salt: salt}
	check, err := i.checkOf(secret)
	i.Check = check
	return i, err
}

// sealedKey is a private key as it rests.
type sealedKey struct {
	Version int                `json:"version"`
	Nonce   webauthn.Base64URL `json:"nonce"`
	Sealed  webauthn.Base64URL `json:"sealed"` // PKCS #8
}

// Empty reports whether no key is in the vault.
func (s Sealed) Empty() (bool, error) {
	n, err := s.Keys()
	return n == 0, err
}

// Keys counts the keys in the vault.
func (s Sealed) Keys() (int, error) {
	names, err := s.Store.List(s.prefix())
	return len(names), err
}

// checkOf returns what tells a secret from others.
func (i SecretInfo) checkOf(secret []byte) ([]byte, error) {
	if len(secret) != SecretSize {
		return nil, errSecretSize
	}
	check, err := hkdf.Key(sha256.New, secret, i.Salt, infoVaultCheck, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the vault's check value: %w", err)
	}
	return check, nil
}

// Check reports whether secret is the vault's: nil, ErrNoVault or ErrVaultSecret.
func (s Sealed) Check(secret []byte) error {
	info, err := s.secret()
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
func (s Sealed) Add(label string, key crypto.PrivateKey, secret []byte) (Identity, error) {
	defer Wipe(key)
	if err := s.Check(secret); err != nil {
		return Identity{}, err
	}
	public, err := publicKey(key)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Label: label, Algorithm: public.Type(), PublicKey: public.Marshal(), Enabled: true, Provider: s.Provider,
	}
	id.Ref = s.keyDocument(id.PublicKey)
	if old, err := s.Store.Get(id.Ref); err != nil || old != nil {
		return Identity{}, errors.Join(err, ErrExists)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, errors.New("this private key cannot be kept in a vault")
	}
	defer clear(plain)
	aead, err := s.aead(secret)
	if err != nil {
		return Identity{}, err
	}
	sealed := sealedKey{Version: 1, Nonce: make([]byte, aead.NonceSize())}
	_, _ = rand.Read(sealed.Nonce)
	sealed.Sealed = aead.Seal(nil, sealed.Nonce, plain, binding(id))
	return id, documents.Save(s.Store, id.Ref, sealed)
}

func (s Sealed) keyDocument(public []byte) string {
	sum := sha256.Sum256(public)
	return s.prefix() + hex.EncodeToString(sum[:16])
}

// ForgetStray removes what lies in the vault of a key that nothing uses: a store that
// failed while it was added failed to forget it, too, and Add would refuse it for ever.
func (s Sealed) ForgetStray(key crypto.PrivateKey, used func(ref string) bool) error {
	public, err := publicKey(key)
	if err != nil {
		return nil // Add says so
	}
	ref := s.keyDocument(public.Marshal())
	if old, err := s.Store.Get(ref); err != nil || old == nil || used(ref) {
		return err
	}
	return s.Store.Delete(ref)
}

// binding is the associated data: an encrypted key that stands under another
// identity's name does not decrypt.
func binding(id Identity) []byte { return append([]byte(vaultBinding), id.PublicKey...) }

func (s Sealed) aead(secret []byte) (cipher.AEAD, error) {
	info, err := s.secret()
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
func (Sealed) Unattended() bool { return true }

// Kind implements Provider.
func (Sealed) Kind() wire.ProviderKind { return wire.ProviderUnknown }

// Forget destroys the encrypted key, and the vault's description with the last
// one: a vault without keys is made anew when it is needed.
func (s Sealed) Forget(id Identity) error {
	if err := s.Store.Delete(id.Ref); err != nil {
		return err
	}
	return s.ForgetEmpty()
}

// ForgetEmpty destroys a vault's description if no key is in it.
func (s Sealed) ForgetEmpty() error {
	if empty, err := s.Empty(); err != nil || !empty {
		return err
	}
	return s.Store.Delete(s.Document())
}

// Sign implements Provider.
func (s Sealed) Sign(ctx context.Context, id Identity, data []byte, algorithm string, unlock Unlock) (*ssh.Signature, error) {
	secret, err := unlock(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	key, err := s.TakeOut(id, secret)
	if errors.Is(err, ErrVaultSecret) {
		return nil, wire.Errorf(wire.CodeAuthenticationFailed, "%s", err.Error())
	}
	if err != nil {
		return nil, err
	}
	defer Wipe(key)
	return signRaw(key, data, algorithm)
}

// TakeOut returns the private key: ErrVaultSecret for the secret of another vault.
func (s Sealed) TakeOut(id Identity, secret []byte) (crypto.PrivateKey, error) {
	if err := s.Check(secret); err != nil {
		return nil, err
	}
	b, err := s.Store.Get(id.Ref)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	if b == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "the encrypted key of %s is missing on the phone", id.Label)
	}
	aead, err := s.aead(secret)
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
