package sshctx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/testkit"
)

const application = "phone.example"

// passkeySign is a passkey that signs data.
func passkeySign(t testing.TB, private *ecdsa.PrivateKey, data []byte) *ssh.Signature {
	t.Helper()
	w := WebAuthn{Flags: FlagUserPresent | FlagUserVerified, Counter: 7, Origin: "https://" + application}
	w.ClientData = fmt.Sprintf(`{"type":"webauthn.get","challenge":"%s","origin":"%s","crossOrigin":false}`,
		base64.RawURLEncoding.EncodeToString(data), w.Origin)
	digest := sha256.Sum256(w.Signed(application))
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return &ssh.Signature{Format: FormatWebAuthn, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: ssh.Marshal(w)}
}

func newPasskey(t testing.TB) (*ecdsa.PrivateKey, ssh.PublicKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := PasskeyBlob(&private.PublicKey, application)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// certificateBy makes a certificate over an ECDSA key that a passkey signs.
func certificateBy(t testing.TB) *ssh.Certificate {
	t.Helper()
	private, authority := newPasskey(t)
	key, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{
		Nonce: make([]byte, 32), Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"root"},
		ValidBefore: ssh.CertTimeInfinity, SignatureKey: authority, KeyId: "a key",
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	unsigned := cert.Marshal()
	cert.Signature = passkeySign(t, private, unsigned[:len(unsigned)-4])
	return cert
}

// attacker: two texts of one certificate, of which a reader compares the one and a
// server reads the other. Only the one form that it marshals to is read.
func TestCertificateHasOneForm(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: authority.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	blob := cert.Marshal()
	if _, err := ParseCertificate(blob); err != nil {
		t.Fatalf("as it is marshalled: %v", err)
	}
	exponent, padded := []byte{0, 0, 0, 3, 1, 0, 1}, []byte{0, 0, 0, 4, 0, 1, 0, 1}
	other := bytes.Replace(blob, exponent, padded, 1)
	if len(other) != len(blob)+1 {
		t.Fatal("no exponent in the certificate")
	}
	if _, err := ssh.ParsePublicKey(other); err != nil {
		t.Fatalf("x/crypto does not read the other form, and this test shows nothing: %v", err)
	}
	if _, err := ParseCertificate(other); !errors.Is(err, ErrNotCertificate) {
		t.Errorf("in another form: %v", err)
	}
}

func TestCertificateByPasskey(t *testing.T) {
	want := certificateBy(t)
	cert, err := ParseCertificate(want.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(cert.Marshal(), want.Marshal()) || cert.KeyId != "a key" || cert.ValidPrincipals[0] != "root" {
		t.Errorf("read as %+v", cert)
	}
	unsigned := *cert
	unsigned.Signature = nil
	b := unsigned.Marshal()
	if err := VerifySignature(cert.SignatureKey, b[:len(b)-4], cert.Signature); err != nil {
		t.Error(err)
	}
	if err := VerifySignature(cert.SignatureKey, b, cert.Signature); !errors.Is(err, ErrSignature) {
		t.Errorf("over other bytes: %v", err)
	}
}

// What is cut, has bytes behind it, or is a plain key is no certificate.
func TestParseCertificateRefuses(t *testing.T) {
	whole := certificateBy(t)
	good := whole.Marshal()
	for n := range good {
		if _, err := ParseCertificate(good[:n]); !errors.Is(err, ErrNotCertificate) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(good), err)
		}
	}
	noSignature := *whole
	noSignature.Signature = nil
	for name, bad := range map[string][]byte{
		"a byte behind it": append(bytes.Clone(good), 0),
		"a plain key":      whole.SignatureKey.Marshal(),
		"not signed":       noSignature.Marshal(),
		"another type":     append(AppendString(nil, []byte("ssh-dss-cert-v01@openssh.com")), good...),
	} {
		if _, err := ParseCertificate(bad); !errors.Is(err, ErrNotCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One whose signature has bytes behind it, for a format that has none there.
	ca := testkit.NewKey(t)
	plain := *whole
	if err := plain.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	unsigned := plain
	unsigned.Signature = nil
	signed := bytes.TrimSuffix(unsigned.Marshal(), make([]byte, 4))
	for rest, want := range map[string]bool{"": true, "\x00": false} {
		plain.Signature.Rest = []byte(rest)
		cert, err := ParseCertificate(plain.Marshal())
		if err == nil {
			err = VerifySignature(cert.SignatureKey, signed, cert.Signature)
		}
		if (err == nil) != want {
			t.Errorf("%d bytes behind a signature: %v", len(rest), err)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	f.Add(certificateBy(f).Marshal())
	_, key := newPasskey(f)
	f.Add(key.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		cert, err := ParseCertificate(b)
		if err == nil && !bytes.Equal(cert.Marshal(), b) {
			t.Errorf("%x is read as another certificate", b)
		}
	})
}
