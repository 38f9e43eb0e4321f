package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"
)

// pemType is the block type of a stored device key: PKCS #8 (RFC 5958).
const pemType = "PRIVATE KEY"

// Key is a device's long-term TLS key pair: P-256, with a self-signed
// certificate that is nothing but the key's envelope. It signs TLS handshakes and
// proofs to a hub; it is no SSH key and can sign nothing for SSH.
type Key struct {
	id      ID
	private crypto.Signer
	public  []byte                          // SubjectPublicKeyInfo in DER
	cert    func() (tls.Certificate, error) // made when it is first asked for
}

// NewKey makes a device key.
func NewKey() (*Key, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make device key: %w", err)
	}
	return proven(newKey(priv))
}

// FromSigner returns the device key whose private half is in the keeping of
// something that signs with it and does not give it out, a browser's WebCrypto
// for instance. It is P-256, and signs messages (crypto.MessageSigner) or their
// SHA-256. Marshal fails for such a key.
func FromSigner(priv crypto.Signer) (*Key, error) {
	public, ok := priv.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: not a P-256 key", ErrKey)
	}
	return proven(newKey(priv))
}

// ParseKey reads what Marshal wrote. Anything but one P-256 key in PKCS #8 in
// PEM is an error, which never repeats the input.
func ParseKey(b []byte) (*Key, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: not one PEM block of type %s", ErrKey, pemType)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS #8", ErrKey)
	}
	priv, ok := k.(*ecdsa.PrivateKey)
	if !ok || priv.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: not a P-256 key", ErrKey)
	}
	return newKey(priv)
}

// Documents is where a device keeps its key; *state.Dir is one.
type Documents interface {
	Get(name string) ([]byte, error) // nil and no error if there is none
	Put(name string, b []byte) error
	Lock() (unlock func(), err error) // keeps other processes from changing it
}

// ErrKey is of a document that holds no device key.
var ErrKey = errors.New("device key")

// OwnKey reads the device's key from the document of that name, or makes one where
// there is none. A damaged one is an error: another key would end all pairings in
// silence.
func OwnKey(d Documents, name string) (*Key, error) {
	// Documents are replaced as a whole, so readers need no lock, which cannot be
	// had on a disk that can only be read.
	if b, err := d.Get(name); err == nil && b != nil {
		return ParseKey(b)
	}
	unlock, err := d.Lock()
	if err != nil {
		return nil, fmt.Errorf("lock the device key: %w", err)
	}
	defer unlock()
	b, err := d.Get(name)
	if err != nil {
		return nil, fmt.Errorf("read the device key: %w", err)
	}
	if b != nil {
		return ParseKey(b)
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	if b, err = key.Marshal(); err != nil {
		return nil, err
	}
	defer clear(b)
	if err := d.Put(name, b); err != nil {
		return nil, fmt.Errorf("keep the device key: %w", err)
	}
	return key, nil
}

// Marshal returns the key as PKCS #8 in PEM, for the device's own store.
func (k *Key) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode device key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// ID returns the device's ID.
func (k *Key) ID() ID { return k.id }

// Certificate returns the certificate and key to present in a TLS handshake.
func (k *Key) Certificate() tls.Certificate {
	cert, err := k.cert()
	if err != nil {
		return tls.Certificate{} // no handshake passes with none
	}
	return cert
}

// PublicKey returns the key's SubjectPublicKeyInfo in DER, whose SHA-256 is ID.
func (k *Key) PublicKey() []byte { return slices.Clone(k.public) }

// Sign returns an ECDSA signature in ASN.1 over the SHA-256 of message. What is
// signed must begin like nothing else that this key signs: TLS (RFC 8446
// section 4.4.3) begins with 64 spaces.
func (k *Key) Sign(message []byte) ([]byte, error) {
	sig, err := crypto.SignMessage(k.private, rand.Reader, message, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with device key: %w", err)
	}
	return sig, nil
}

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("device key " + k.id.Short()) }

// String keeps the key out of formatted text.
func (k Key) String() string { return "device key " + k.id.Short() }

// Format keeps the key out of every verb, also those that pass String by.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// newKey leaves the certificate for later: an agent that starts is to answer
// SSH clients first.
func newKey(priv crypto.Signer) (*Key, error) {
	public, err := x509.MarshalPKIXPublicKey(priv.Public())
	if err != nil {
		return nil, fmt.Errorf("encode device key: %w", err)
	}
	return &Key{
		id: sha256.Sum256(public), private: priv, public: public,
		cert: sync.OnceValues(func() (tls.Certificate, error) { return envelope(priv) }),
	}, nil
}

// proven makes the certificate of a key that is new here, whose signer may fail.
func proven(k *Key, err error) (*Key, error) {
	if err != nil {
		return nil, err
	}
	if _, err := k.cert(); err != nil {
		return nil, err
	}
	return k, nil
}

func envelope(priv crypto.Signer) (tls.Certificate, error) {
	// The certificate is made anew at each start: peers pin the key, so nothing
	// in it matters but the key. Fixed dates keep it from telling the clock.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "vmux device"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 4.1.2.5: no expiry
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make device certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read device certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv, Leaf: leaf}, nil
}
