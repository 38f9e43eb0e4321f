package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/webauthn"
)

// The forms of registrations that were seen of browsers and password managers. All
// name the same passkey.
func TestRegistrationsAsProvidersMakeThem(t *testing.T) {
	challenge := []byte("a challenge?>")
	for name, change := range map[string]func(a *authenticator, r *webauthn.Registration){
		"authenticator data alone": func(a *authenticator, r *webauthn.Registration) {
			r.AuthData, r.Attestation = a.authData(a.flags|sshctx.FlagAttested, a.attested(a.cose())...), nil
		},
		"without rawId": func(_ *authenticator, r *webauthn.Registration) { r.ID = nil },
		"without a word of PRF, and of many transports": func(_ *authenticator, r *webauthn.Registration) {
			r.PRF, r.Transports = nil, make([]string, 40)
		},
		"with an attestation of another order": func(a *authenticator, r *webauthn.Registration) {
			data := a.authData(a.flags|sshctx.FlagAttested, a.attested(a.cose())...)
			head := []byte("\xa3\x68authData\x5a\x00\x00")
			statement := []byte("\x67attStmt\xa2\x63alg\x26\x63x5c\x81\x42\x01\x02\x63fmt\x66packed")
			r.Attestation = slices.Concat(head, []byte{byte(len(data) >> 8), byte(len(data))}, data, statement)
		},
		"with a COSE key of another order, with a key ID": func(a *authenticator, r *webauthn.Registration) {
			x, y := a.point()
			cose := slices.Concat([]byte{0xa6, 0x22, 0x58, 0x20}, y, []byte{0x21, 0x58, 0x20}, x, []byte{0x20, 0x01, 0x02, 0x41, 0x09, 0x03, 0x38, 0x06, 0x01, 0x18, 0x02})
			r.Attestation = attestation(a.authData(a.flags|sshctx.FlagAttested, a.attested(cose)...))
		},
		"with extensions": func(a *authenticator, r *webauthn.Registration) {
			more := append(a.attested(a.cose()), "\xa1\x6bhmac-secret\xf5"...)
			r.Attestation = attestation(a.authData(a.flags|sshctx.FlagAttested|sshctx.FlagExtensions, more...))
		},
		"backed up, though not eligible": func(a *authenticator, r *webauthn.Registration) { a.flags = 0x15; *r = a.create(challenge) },
		"of Android, in an order of its own": func(a *authenticator, r *webauthn.Registration) {
			r.ClientData = fmt.Appendf(nil, `{"androidPackageName":"com.android.chrome","origin":"https:\/\/phone.example", "challenge":%q,"type":"webauthn.create"}`,
				base64.RawURLEncoding.EncodeToString(challenge))
		},
		"with a padded challenge of the other alphabet": func(_ *authenticator, r *webauthn.Registration) {
			r.ClientData = fmt.Appendf(nil, `{"type":"webauthn.create","challenge":%q,"origin":"https://phone.example","crossOrigin":"false"}`,
				base64.StdEncoding.EncodeToString(challenge))
		},
		"with a mark of the byte order": func(_ *authenticator, r *webauthn.Registration) {
			r.ClientData = append([]byte("\ufeff"), r.ClientData...)
		},
	} {
		a := newAuthenticator(t)
		r := a.create(challenge)
		change(a, &r)
		made, err := Passkeys{&testkit.Documents{}, party}.Register("x", r, challenge)
		if err != nil || !bytes.Equal(made.Credential.ID, a.id) || !bytes.Equal(r.CredentialID(), a.id) {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
	}
}

// Keys of other kinds are refused by name, as is what cannot be read.
func TestRegistrationsAreRefusedByName(t *testing.T) {
	challenge := []byte("a challenge")
	for want, change := range map[string]func(a *authenticator, r *webauthn.Registration){
		"not P-256": func(a *authenticator, r *webauthn.Registration) {
			cose := append([]byte{0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20}, make([]byte, 32)...) // Ed25519
			r.Attestation = attestation(a.authData(a.flags|sshctx.FlagAttested, a.attested(cose)...))
		},
		"two passkeys":      func(_ *authenticator, r *webauthn.Registration) { r.ID = []byte("another") },
		"no passkey":        func(a *authenticator, r *webauthn.Registration) { r.Attestation = attestation(a.authData(a.flags)) },
		"attestationObject": func(_ *authenticator, r *webauthn.Registration) { r.Attestation = []byte("\xbf\x63fmt") },
		"clientDataJSON":    func(_ *authenticator, r *webauthn.Registration) { r.ClientData = []byte("<placeholder>") },
		"did not verify":    func(a *authenticator, r *webauthn.Registration) { a.flags = 1; *r = a.create(challenge) },
	} {
		a := newAuthenticator(t)
		r := a.create(challenge)
		change(a, &r)
		if _, err := (Passkeys{&testkit.Documents{}, party}).Register("x", r, challenge); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// sign signs client data of a form of its own.
func (a *authenticator) sign(clientData string, flags byte, extensions ...byte) webauthn.Assertion {
	a.t.Helper()
	answer := webauthn.Assertion{ClientData: []byte(clientData), AuthData: a.authData(flags, extensions...)}
	client := sha256.Sum256(answer.ClientData)
	digest := sha256.Sum256(append(bytes.Clone(answer.AuthData), client[:]...))
	var err error
	if answer.Signature, err = ecdsa.SignASN1(rand.Reader, a.key, digest[:]); err != nil {
		a.t.Fatal(err)
	}
	return answer
}

// Client data in any form but the standard's make a passkey that no server lets in:
// it is found at the test, and named. What OpenSSH does not look at is borne.
func TestNewPasskeyIsTested(t *testing.T) {
	a, passkeys, _ := withPasskey(t)
	const start = `{"type":"webauthn.get","challenge":"%s","origin":"https://phone.example"`
	for form, want := range map[string]string{
		start + `,"crossOrigin":false}`: "",
		start + `}`:                     "",
		start + `,"crossOrigin":false,"topOrigin":"https://phone.example","extra":"null"}`:              "",
		start + `, "androidPackageName" : "com.android.chrome"}`:                                        "",
		`{"challenge":"%s","origin":"https://phone.example","type":"webauthn.get"}`:                     "order and form",
		`{"type":"webauthn.get","challenge":"%s","crossOrigin":false,"origin":"https://phone.example"}`: "order and form",
		`{"type": "webauthn.get", "challenge": "%s", "origin": "https://phone.example"}`:                "order and form",
		` ` + start + `}`: "order and form",
		`{"type":"webauthn.get","challenge":"%s","origin":"https:\/\/phone.example"}`:  "order and form",
		`{"type":"webauthn.get","challenge":"%s=","origin":"https://phone.example"}`:   "order and form",
		`{"type":"webauthn.get","challenge":"%s","origin":"https://phone.example/"}`:   "another site",
		`{"type":"webauthn.create","challenge":"%s","origin":"https://phone.example"}`: "another question",
	} {
		made, err := passkeys.Register("x", a.create([]byte("c")), []byte("c"))
		if err != nil {
			t.Fatal(err)
		}
		answer := a.sign(strings.ReplaceAll(form, "%s", base64.RawURLEncoding.EncodeToString(made.Test())), 5)
		_, err = passkeys.Keep(made, answer)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", form, err, want)
		}
	}
}

// What the test has signed logs in nowhere.
func TestTestIsNoRequest(t *testing.T) {
	test := NewTest()
	if c, err := sshctx.Parse(test); !errors.Is(err, sshctx.ErrUnknown) || len(test) != testSize || bytes.Equal(test, NewTest()) {
		t.Errorf("a test is %+v", c)
	}
}

// Signatures whose integers are not written as DER wants them.
func TestSignaturesAsProvidersWriteThem(t *testing.T) {
	a, passkeys, id := withPasskey(t)
	data := []byte("bytes to be signed")
	good := a.get(data)
	r, s, err := webauthn.ParseSignature(good.Signature)
	if err != nil {
		t.Fatal(err)
	}
	pad := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	integer := func(b []byte) []byte { return append([]byte{2, byte(len(b))}, b...) }
	for name, body := range map[string][]byte{
		"as they are":     slices.Concat(integer(r.Bytes()), integer(s.Bytes())),
		"of equal size":   slices.Concat(integer(append([]byte{0}, pad(r)...)), integer(append([]byte{0}, pad(s)...))),
		"with many zeros": slices.Concat(integer(append(make([]byte, 9), pad(r)...)), integer(pad(s))),
	} {
		for _, head := range [][]byte{{0x30, byte(len(body))}, {0x30, 0x81, byte(len(body))}} {
			answer := good
			answer.Signature = append(head, body...)
			if _, err := passkeys.Signature(id, data, answer); err != nil {
				t.Errorf("%s, % x: %v", name, head, err)
			}
		}
	}
	good.Signature = append(pad(r), pad(s)...)
	if _, err := passkeys.Signature(id, data, good); err != nil {
		t.Errorf("as WebCrypto makes them: %v", err)
	}
}

// A vault is kept only once its passkey has given the same secret twice; one that
// answers otherwise when it is made, but alike later, is good enough.
func TestNewVaultIsAskedTwice(t *testing.T) {
	one, two, three := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	for _, c := range []struct {
		registered []byte
		later      [][]byte
		refused    bool
	}{
		{one, [][]byte{one}, false},
		{nil, [][]byte{one, one}, false},
		{one, [][]byte{two, two}, false},
		{nil, [][]byte{one, two}, true},
		{one, [][]byte{two, three}, true},
		{one, [][]byte{two, one}, true},
		{nil, [][]byte{one[:31]}, true},
		{nil, [][]byte{one, one, two}, true},
	} {
		a, store := newAuthenticator(t), &testkit.Documents{}
		vault := Vault{Sealed{store, ProviderVault}, party}
		n, err := vault.Register(a.create([]byte("c")), []byte("c"), NewSalt())
		if err != nil {
			t.Fatal(err)
		}
		n.Registered(c.registered)
		for i, secret := range c.later {
			if err := vault.Create(n); i == 0 && !errors.Is(err, ErrVaultSecret) {
				t.Errorf("%+v: kept before it was asked: %v", c, err)
			}
			_, err = n.Prove(secret)
		}
		if (err != nil) != c.refused {
			t.Errorf("%v, %v: %v", c.registered, c.later, err)
		}
		if err := vault.Create(n); err == nil && len(c.later) < 3 && c.refused {
			t.Errorf("%v, %v: kept", c.registered, c.later)
		}
	}
}

func TestSaltIsWrittenAlike(t *testing.T) {
	for range 100 {
		if salt := NewSalt(); base64.RawURLEncoding.EncodeToString(salt) != base64.RawStdEncoding.EncodeToString(salt) || len(salt) != SecretSize {
			t.Errorf("%x", salt)
		}
	}
}
