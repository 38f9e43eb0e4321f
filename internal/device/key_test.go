package device

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// keptKey signs messages and nothing else, as WebCrypto does with a key that it
// does not give out.
type keptKey struct{ priv *ecdsa.PrivateKey }

func (k keptKey) Public() crypto.PublicKey { return k.priv.Public() }

func (k keptKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a hash was to be signed")
}

func (k keptKey) SignMessage(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	sum := sha256.Sum256(message)
	return k.priv.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func TestKeyThatIsNotGivenOut(t *testing.T) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := FromSigner(keptKey{priv})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Marshal(); err == nil {
		t.Error("a key that is not given out was marshalled")
	}
	if known, err := newKey(priv); err != nil || known.ID() != key.ID() {
		t.Errorf("ID %v, %v", key.ID(), err)
	}
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		done <- tls.Server(server, &tls.Config{Certificates: []tls.Certificate{key.Certificate()}}).Handshake()
	}()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	if IDOf(c.ConnectionState().PeerCertificates[0]) != key.ID() {
		t.Error("the handshake proved another device")
	}
}

func TestDeviceKeysAreP256(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FromSigner(other); err == nil {
		t.Error("an RSA key became a device key")
	}
	longer, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FromSigner(longer); err == nil {
		t.Error("a P-384 key became a device key")
	}
}
