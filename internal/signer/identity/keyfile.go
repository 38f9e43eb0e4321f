package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"vmux/internal/keyfile"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/wire"
)

const maxPassphraseTries = 3

// Errors of key files.
var (
	ErrNoPassphrase    = errors.New("the passphrase is empty")
	ErrWrongPassphrase = keyfile.ErrWrongPassphrase
	ErrEncrypted       = keyfile.ErrEncrypted
)

// Create makes a key pair of the algorithm, an OpenSSH key type, and keeps its
// private half encrypted under the passphrase. Bits count for ssh-rsa only; 0
// means 3072.
func (l *List) Create(label, algorithm string, bits int, passphrase []byte) (Identity, error) {
	key, err := Generate(algorithm, bits)
	if err != nil {
		return Identity{}, err
	}
	defer Wipe(key)
	return l.keepKey(label, key, passphrase, activity.DecisionCreated)
}

// Import keeps the private key of a key file, encrypted anew under passphrase.
// Old is the file's own passphrase, nil if it has none. It returns ErrEncrypted if
// one is needed, ErrWrongPassphrase if it is wrong, and a *keyfile.Error if the
// file holds no key that can be read.
func (l *List) Import(label string, file, old, passphrase []byte) (Identity, error) {
	key, err := keyfile.Parse(file, old)
	if err != nil {
		return Identity{}, err
	}
	defer Wipe(key)
	if err := checkImported(key); err != nil {
		return Identity{}, err
	}
	return l.keepKey(label, key, passphrase, activity.DecisionImported)
}

// Export returns the identity's private key as an OpenSSH key file, encrypted
// as it rests. It gives nothing out that the log does not know.
func (l *List) Export(id Identity) ([]byte, error) {
	if id.Provider != ProviderFile {
		return nil, errors.New("the private key of this identity is not on this phone")
	}
	b, err := l.cfg.Store.Get(id.Ref)
	if err == nil && b == nil {
		err = errors.New("the key file is missing")
	}
	if err == nil {
		err = l.cfg.Log.Write(*keyRecord(id, activity.DecisionExported, "the private key, encrypted under its passphrase"))
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// keepKey stores the key first: an identity without its key would be a lie, a
// key without its identity is only a file.
func (l *List) keepKey(label string, key crypto.PrivateKey, passphrase []byte, decision string) (Identity, error) {
	if err := CheckLabel(label); err != nil {
		return Identity{}, err
	}
	id, file, err := Encrypt(label, key, passphrase)
	if err != nil {
		return Identity{}, err
	}
	id.CreatedAt = l.cfg.Now().UTC()
	if _, err := l.Find(id.Fingerprint()); !errors.Is(err, ErrNoIdentity) {
		return Identity{}, errors.Join(err, ErrExists)
	}
	if err := l.cfg.Store.Put(id.Ref, file); err != nil {
		return Identity{}, fmt.Errorf("save key: %w", err)
	}
	if err := l.add(id, decision); err != nil {
		return Identity{}, errors.Join(err, l.cfg.Store.Delete(id.Ref))
	}
	return l.Find(id.Fingerprint())
}

// Encrypt returns an identity of a key and its encrypted OpenSSH key file.
func Encrypt(label string, key crypto.PrivateKey, passphrase []byte) (Identity, []byte, error) {
	if len(passphrase) == 0 {
		return Identity{}, nil, ErrNoPassphrase
	}
	public, err := publicKey(key)
	if err != nil {
		return Identity{}, nil, err
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, label, passphrase)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("encrypt key: %w", err)
	}
	blob := public.Marshal()
	return Identity{
		Label: label, Algorithm: public.Type(), PublicKey: blob,
		Enabled: true, Provider: ProviderFile, Ref: keyDocument(blob),
	}, pem.EncodeToMemory(block), nil
}

// keyDocument names the document of a key file by its public key.
func keyDocument(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "keys/" + hex.EncodeToString(sum[:16])
}

// Files signs with encrypted OpenSSH key files in the store. The
// passphrase is asked at each signature and nothing decrypted is kept.
type Files struct{ Store documents.Store }

// Unattended tells that a passphrase given once serves for a grant.
func (Files) Unattended() bool { return true }

// Kind implements Provider.
func (Files) Kind() wire.ProviderKind { return wire.ProviderUnknown }

// Forget destroys the key file.
func (p Files) Forget(id Identity) error { return p.Store.Delete(id.Ref) }

// Add encrypts a private key under the passphrase and keeps it, and returns its identity.
// Forget undoes it. It wipes the key.
func (p Files) Add(label string, key crypto.PrivateKey, passphrase []byte) (Identity, error) {
	defer Wipe(key)
	id, file, err := Encrypt(label, key, passphrase)
	if err != nil {
		return Identity{}, err
	}
	return id, p.Store.Put(id.Ref, file)
}

// TakeOut returns the private key, or ErrWrongPassphrase.
func (p Files) TakeOut(id Identity, passphrase []byte) (crypto.PrivateKey, error) {
	file, err := p.load(id)
	if err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, ErrWrongPassphrase
	}
	return keyfile.Parse(file, passphrase)
}

func (p Files) load(id Identity) ([]byte, error) {
	file, err := p.Store.Get(id.Ref)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	if file == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "the key file of %s is missing on the phone", id.Label)
	}
	return file, nil
}

// Sign implements Provider.
func (p Files) Sign(ctx context.Context, id Identity, data []byte, algorithm string, unlock Unlock) (*ssh.Signature, error) {
	file, err := p.load(id)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		key, err := unlockFile(ctx, file, attempt, unlock)
		if errors.Is(err, ErrWrongPassphrase) && attempt < maxPassphraseTries {
			continue
		}
		if errors.Is(err, ErrWrongPassphrase) {
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		if err != nil {
			return nil, err
		}
		signature, err := signRaw(key, data, algorithm)
		Wipe(key)
		return signature, err
	}
}

func unlockFile(ctx context.Context, file []byte, attempt int, unlock Unlock) (crypto.PrivateKey, error) {
	passphrase, err := unlock(ctx, attempt)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	if len(passphrase) == 0 {
		return nil, ErrWrongPassphrase
	}
	return keyfile.Parse(file, passphrase)
}
