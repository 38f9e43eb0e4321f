package signer

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"

	"vmux/internal/keyfile"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const (
	// MinRSABits is the least that a new RSA key has.
	MinRSABits = 3072
	// minImportedRSABits is the least that sshd accepts by default elsewhere,
	// and what older keys have.
	minImportedRSABits = 2048
	maxRSABits         = 16384 // what ssh-keygen makes at most
	maxPassphraseTries = 3
)

// Errors of key files.
var (
	ErrNoPassphrase    = errors.New("the passphrase is empty")
	ErrWrongPassphrase = keyfile.ErrWrongPassphrase
	ErrEncrypted       = keyfile.ErrEncrypted
)

// Create makes a key pair of the algorithm, an OpenSSH key type, and keeps its
// private half encrypted under the passphrase. Bits count for ssh-rsa only; 0
// means 3072.
func (s *Signer) Create(label, algorithm string, bits int, passphrase []byte) (Identity, error) {
	key, err := generate(algorithm, bits)
	if err != nil {
		return Identity{}, err
	}
	defer wipe(key)
	return s.keepKey(label, key, passphrase, activity.DecisionCreated)
}

// Import keeps the private key of a key file, encrypted anew under passphrase.
// Old is the file's own passphrase, nil if it has none. It returns ErrEncrypted if
// one is needed, ErrWrongPassphrase if it is wrong, and a *keyfile.Error if the
// file holds no key that can be read.
func (s *Signer) Import(label string, file, old, passphrase []byte) (Identity, error) {
	key, err := keyfile.Parse(file, old)
	if err != nil {
		return Identity{}, err
	}
	defer wipe(key)
	if err := checkImported(key); err != nil {
		return Identity{}, err
	}
	return s.keepKey(label, key, passphrase, activity.DecisionImported)
}

// checkImported refuses keys that servers refuse as well, or that cost too much
// time to sign with.
func checkImported(key crypto.PrivateKey) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minImportedRSABits || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits is not imported: it has to have %d to %d", bits, minImportedRSABits, maxRSABits)
		}
	case *ecdsa.PrivateKey, ed25519.PrivateKey, *ed25519.PrivateKey:
	default:
		return wire.Errorf(wire.CodeAlgorithmUnsupported, "only ECDSA, Ed25519 and RSA keys are imported")
	}
	return nil
}

// Export returns the identity's private key as an OpenSSH key file, encrypted
// as it rests. It gives nothing out that the log does not know.
func (s *Signer) Export(id Identity) ([]byte, error) {
	if id.Provider != ProviderFile {
		return nil, errors.New("the private key of this identity is not on this phone")
	}
	b, err := s.cfg.Store.Get(id.Ref)
	if err == nil && b == nil {
		err = errors.New("the key file is missing")
	}
	if err == nil {
		err = s.Activity.Write(*keyRecord(id, activity.DecisionExported, "the private key, encrypted under its passphrase"))
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// keepKey stores the key first: an identity without its key would be a lie, a
// key without its identity is only a file.
func (s *Signer) keepKey(label string, key crypto.PrivateKey, passphrase []byte, decision string) (Identity, error) {
	if err := CheckLabel(label); err != nil {
		return Identity{}, err
	}
	id, file, err := encryptKey(label, key, passphrase)
	if err != nil {
		return Identity{}, err
	}
	id.CreatedAt = s.cfg.Now().UTC()
	if _, err := s.Find(id.Fingerprint()); !errors.Is(err, ErrNoIdentity) {
		return Identity{}, errors.Join(err, ErrExists)
	}
	if err := s.cfg.Store.Put(id.Ref, file); err != nil {
		return Identity{}, fmt.Errorf("save key: %w", err)
	}
	if err := s.add(id, decision); err != nil {
		return Identity{}, errors.Join(err, s.cfg.Store.Delete(id.Ref))
	}
	return s.Find(id.Fingerprint())
}

// encryptKey returns an identity of a key and its encrypted OpenSSH key file.
func encryptKey(label string, key crypto.PrivateKey, passphrase []byte) (Identity, []byte, error) {
	if len(passphrase) == 0 {
		return Identity{}, nil, ErrNoPassphrase
	}
	if k, ok := key.(*ed25519.PrivateKey); ok {
		key = *k
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("use key: %w", err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, label, passphrase)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("encrypt key: %w", err)
	}
	blob := signer.PublicKey().Marshal()
	return Identity{
		Label: label, Algorithm: signer.PublicKey().Type(), PublicKey: blob,
		Enabled: true, Provider: ProviderFile, Ref: keyDocument(blob),
	}, pem.EncodeToMemory(block), nil
}

// CheckAlgorithm reports why Create makes no such key: with
// wire.CodeAlgorithmUnsupported where it knows no such algorithm.
func CheckAlgorithm(algorithm string, bits int) error {
	switch algorithm {
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519:
		return nil
	case ssh.KeyAlgoRSA:
		if bits != 0 && (bits < MinRSABits || bits > maxRSABits) {
			return policy.Invalid("an RSA key has %d to %d bits, not %d", MinRSABits, maxRSABits, bits)
		}
		return nil
	}
	return wire.Errorf(wire.CodeAlgorithmUnsupported,
		"no keys of algorithm %q: use ecdsa-sha2-nistp256, -nistp384, -nistp521, ssh-ed25519 or ssh-rsa", algorithm)
}

func generate(algorithm string, bits int) (crypto.PrivateKey, error) {
	if err := CheckAlgorithm(algorithm, bits); err != nil {
		return nil, err
	}
	switch algorithm {
	case ssh.KeyAlgoECDSA256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ssh.KeyAlgoECDSA384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ssh.KeyAlgoECDSA521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case ssh.KeyAlgoED25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, cmp.Or(bits, MinRSABits))
}

// fileProvider signs with encrypted OpenSSH key files in the store. The
// passphrase is asked at each signature and nothing decrypted is kept.
type fileProvider struct{ store documents.Store }

// Unattended tells that a passphrase given once serves for a grant.
func (fileProvider) Unattended() bool { return true }

func (fileProvider) Kind() wire.ProviderKind { return wire.ProviderUnknown }

// Forget destroys the key file.
func (p fileProvider) Forget(id Identity) error { return p.store.Delete(id.Ref) }

func (p fileProvider) Sign(ctx context.Context, id Identity, data []byte, algorithm string, unlock Unlock) (*ssh.Signature, error) {
	file, err := p.store.Get(id.Ref)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	if file == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "the key file of %s is missing on the phone", id.Label)
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
		wipe(key)
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

func sshSigner(key crypto.PrivateKey) (ssh.Signer, error) {
	if k, ok := key.(*ed25519.PrivateKey); ok {
		key = *k
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	return signer, nil
}

func signRaw(key crypto.PrivateKey, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := sshSigner(key)
	if err != nil {
		return nil, err
	}
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, wire.NewError(wire.CodeAlgorithmUnsupported)
	}
	return as.SignWithAlgorithm(rand.Reader, data, algorithm)
}

// Wipe overwrites a private key that ParsePrivateKey returned, as wipe does.
func Wipe(key crypto.PrivateKey) { wipe(key) }

// wipe overwrites what Go lets one reach: of an RSA key each of the values that
// the standard library derives from its primes, too, since any of them gives the
// key away. What it keeps besides for itself, and copies of the runtime, stay
// until the garbage collector takes them: SECURITY.md says so.
func wipe(key crypto.PrivateKey) {
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		clear(*k)
	case ed25519.PrivateKey:
		clear(k)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 deprecated for arithmetic, yet it is where the secret is
		clear(k.D.Bits())
	case *rsa.PrivateKey:
		pre := &k.Precomputed
		secrets := append([]*big.Int{k.D, pre.Dp, pre.Dq, pre.Qinv}, k.Primes...)
		//lint:ignore SA1019 deprecated for use, and filled in all the same
		for _, v := range pre.CRTValues {
			secrets = append(secrets, v.Exp, v.Coeff, v.R)
		}
		for _, n := range secrets {
			if n != nil {
				clear(n.Bits())
			}
		}
	}
}
