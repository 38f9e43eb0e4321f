package wiretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/wire"
)

// NewSigner makes a key of P-256.
func NewSigner(t testing.TB) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Issue makes the certificate for a request, as a phone with that CA does; change, if
// it is not nil, spoils it.
func Issue(ca ssh.Signer, r wire.CertificateRequest, validity time.Duration, change func(*ssh.Certificate)) wire.CertificateResponse {
	key, err := ssh.ParsePublicKey(r.PublicKeyBlob)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	cert := &ssh.Certificate{
		Key: key, Serial: 7, CertType: ssh.UserCert, KeyId: "vmux:test", ValidPrincipals: []string{"root"},
		ValidAfter: uint64(now.Add(-5 * time.Minute).Unix()), ValidBefore: uint64(now.Add(validity).Unix()),
	}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		panic(err)
	}
	return wire.CertificateResponse{
		RequestID: r.RequestID, CertificateBlob: cert.Marshal(), CAPublicKey: ca.PublicKey().Marshal(),
		ValidAfter: cert.ValidAfter, ValidBefore: cert.ValidBefore,
	}
}
