package identity

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"

	"vmux/internal/keyfile"
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
)

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

// Generate makes a private key of an OpenSSH key type. Bits count for ssh-rsa only; 0
// means 3072.
func Generate(algorithm string, bits int) (crypto.PrivateKey, error) {
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

// ParsePrivateKey reads a key file for Add. Errors: ErrEncrypted,
// ErrWrongPassphrase, *keyfile.Error, and what Import refuses.
func ParsePrivateKey(file, passphrase []byte) (crypto.PrivateKey, error) {
	key, err := keyfile.Parse(file, passphrase)
	if err != nil {
		return nil, err
	}
	if err := checkImported(key); err != nil {
		Wipe(key)
		return nil, err
	}
	return key, nil
}

// checkImported refuses keys that servers refuse as well, or that cost too much
// time to sign with.
func checkImported(key crypto.PrivateKey) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minImportedRSABits || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits is not imported: it has to have %d to %d", bits, minImportedRSABits, maxRSABits)
		}
	case *ecdsa.PrivateKey, ed25519.PrivateKey:
	default:
		return wire.Errorf(wire.CodeAlgorithmUnsupported, "only ECDSA, Ed25519 and RSA keys are imported")
	}
	return nil
}

func publicKey(key crypto.PrivateKey) (ssh.PublicKey, error) {
	s, err := sshSigner(key)
	if err != nil {
		return nil, err
	}
	return s.PublicKey(), nil
}

func sshSigner(key crypto.PrivateKey) (ssh.Signer, error) {
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

// Wipe overwrites of a private key what Go lets one reach: of an RSA key each of the values that
// the standard library derives from its primes, too, since any of them gives the
// key away. What it keeps besides for itself, and copies of the runtime, stay
// until the garbage collector takes them: SECURITY.md says so.
func Wipe(key crypto.PrivateKey) {
	switch k := key.(type) {
	case *ed25519.PrivateKey: // as package ssh gives it out
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
