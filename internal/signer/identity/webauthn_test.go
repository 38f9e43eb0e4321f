package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

var party = webauthn.RelyingParty{ID: "phone.example", Origin: "https://phone.example"}

// authenticator makes and uses one credential as a device and its browser do.
// A test changes what it says before it signs.
type authenticator struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	id     []byte
	rp     webauthn.RelyingParty
	flags  byte
	secret []byte // of its PRF
	framed bool   // asked in another site's page
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{t: t, key: key, id: make([]byte, 20), rp: party, secret: make([]byte, 32)}
	a.flags = sshctx.FlagUserPresent | sshctx.FlagUserVerified | sshctx.FlagBackupEligible
	_, _ = rand.Read(a.id)
	_, _ = rand.Read(a.secret)
	return a
}

func (a *authenticator) clientData(kind string, challenge []byte) []byte {
	return fmt.Appendf(nil, `{"type":"%s","challenge":"%s","origin":"%s","crossOrigin":%t}`,
		kind, base64.RawURLEncoding.EncodeToString(challenge), a.rp.Origin, a.framed)
}

func (a *authenticator) authData(flags byte, more ...byte) []byte {
	rp := sha256.Sum256([]byte(a.rp.ID))
	return slices.Concat(rp[:], []byte{flags, 0, 0, 0, 0}, more)
}

func (a *authenticator) create(challenge []byte) webauthn.Registration {
	a.t.Helper()
	prf := a.secret != nil
	data := a.authData(a.flags|sshctx.FlagAttested, a.attested(a.cose())...)
	return webauthn.Registration{ID: a.id, ClientData: a.clientData("webauthn.create", challenge), PRF: &prf, Attestation: attestation(data)}
}

// cose is an authenticator's own form of its key: the canonical CBOR of CTAP2
// (RFC 9052 section 7, WebAuthn Level 3 section 6.5.1.1).
func (a *authenticator) cose() []byte {
	x, y := a.point()
	return slices.Concat([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}, x, []byte{0x22, 0x58, 0x20}, y)
}

func (a *authenticator) point() (x, y []byte) {
	a.t.Helper()
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	return point[1:33], point[33:]
}

func (a *authenticator) attested(cose []byte) []byte {
	return slices.Concat(make([]byte, 16), binary.BigEndian.AppendUint16(nil, uint16(len(a.id))), a.id, cose)
}

// attestation is an attestation object without attestation, as browsers make them.
func attestation(authData []byte) []byte {
	head := slices.Concat([]byte{0xa3, 0x63}, []byte("fmt"), []byte{0x64}, []byte("none"),
		[]byte{0x67}, []byte("attStmt"), []byte{0xa0, 0x68}, []byte("authData"), []byte{0x59})
	return slices.Concat(head, binary.BigEndian.AppendUint16(nil, uint16(len(authData))), authData)
}

func (a *authenticator) get(challenge []byte) webauthn.Assertion {
	a.t.Helper()
	answer := webauthn.Assertion{ID: a.id, ClientData: a.clientData("webauthn.get", challenge), AuthData: a.authData(a.flags)}
	client := sha256.Sum256(answer.ClientData)
	digest := sha256.Sum256(append(bytes.Clone(answer.AuthData), client[:]...))
	var err error
	if answer.Signature, err = ecdsa.SignASN1(rand.Reader, a.key, digest[:]); err != nil {
		a.t.Fatal(err)
	}
	return answer
}

func (a *authenticator) prf(salt []byte) []byte {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write(salt)
	return mac.Sum(nil)
}

// provenVault is one that its passkey has answered for twice.
func (a *authenticator) provenVault(v Vault, challenge, salt []byte) *NewVault {
	a.t.Helper()
	n, err := v.Register(a.create(challenge), challenge, salt)
	for range 2 {
		if err == nil {
			_, err = n.Prove(a.prf(salt))
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func (a *authenticator) makeVault(v Vault, challenge, salt []byte) {
	a.t.Helper()
	if err := v.Create(a.provenVault(v, challenge, salt)); err != nil {
		a.t.Fatal(err)
	}
}

// newList is an empty list whose keys the providers hold.
func newList(t *testing.T, store documents.Store, providers map[string]Provider) *List {
	t.Helper()
	return New(Config{
		Store: store, Log: activity.New(store, time.Now), Now: time.Now, Providers: providers,
		Taken: func([]byte) bool { return false },
	})
}

// unlocked is an Unlock that answers with a secret.
func unlocked(secret []byte) Unlock {
	return func(context.Context, int) ([]byte, error) { return bytes.Clone(secret), nil }
}

// withPasskey makes an identity whose key is a passkey of the authenticator.
func withPasskey(t *testing.T) (*authenticator, Passkeys, Identity) {
	t.Helper()
	a, store := newAuthenticator(t), &testkit.Documents{}
	passkeys := Passkeys{Store: store, RelyingParty: party}
	l := newList(t, store, map[string]Provider{ProviderPasskey: passkeys})
	challenge := []byte("a challenge")
	made, err := passkeys.Register("face", a.create(challenge), challenge)
	if err != nil {
		t.Fatal(err)
	}
	id, err := passkeys.Keep(made, a.get(made.Test()))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(id); err != nil {
		t.Fatal(err)
	}
	if id, err = l.Find("face"); err != nil {
		t.Fatal(err)
	}
	return a, passkeys, id
}

func TestPasskeySigns(t *testing.T) {
	a, passkeys, id := withPasskey(t)
	data := []byte("bytes to be signed")
	answer, err := json.Marshal(a.get(data))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := passkeys.Sign(t.Context(), id, data, id.Algorithm, unlocked(answer))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := sshctx.VerifySignature(key, data, signature); err != nil || key.Type() != ssh.KeyAlgoSKECDSA256 {
		t.Errorf("%s: %v", key.Type(), err)
	}
	if kind := passkeys.Kind(); kind != wire.ProviderSecureEnclave {
		t.Errorf("told as %v", kind)
	}
}

// What a browser, a stolen answer or a careless authenticator could bring.
func TestPasskeyAnswersThatAreNoGood(t *testing.T) {
	good, passkeys, id := withPasskey(t)
	data := []byte("bytes to be signed")
	if _, err := passkeys.Signature(id, data, good.get(data)); err != nil {
		t.Fatalf("a good answer: %v", err)
	}
	for name, answer := range map[string]func(a authenticator) webauthn.Assertion{
		"over other bytes":       func(a authenticator) webauthn.Assertion { return a.get([]byte("other bytes")) },
		"of another site":        func(a authenticator) webauthn.Assertion { a.rp.ID = "evilhub.example"; return a.get(data) },
		"to another origin":      func(a authenticator) webauthn.Assertion { a.rp.Origin = "https://evilhub.example"; return a.get(data) },
		"in another site's page": func(a authenticator) webauthn.Assertion { a.framed = true; return a.get(data) },
		"without the person":     func(a authenticator) webauthn.Assertion { a.flags &^= sshctx.FlagUserVerified; return a.get(data) },
		"with nobody there":      func(a authenticator) webauthn.Assertion { a.flags &^= sshctx.FlagUserPresent; return a.get(data) },
		"with attested data":     func(a authenticator) webauthn.Assertion { a.flags |= sshctx.FlagAttested; return a.get(data) },
		"with extensions unsaid": func(a authenticator) webauthn.Assertion { a.flags |= sshctx.FlagExtensions; return a.get(data) },
		"of another key":         func(authenticator) webauthn.Assertion { return newAuthenticator(t).get(data) },
		"of a registration": func(a authenticator) webauthn.Assertion {
			r := a.create(data)
			return webauthn.Assertion{ClientData: r.ClientData, AuthData: a.authData(a.flags)}
		},
		"with a broken signature": func(a authenticator) webauthn.Assertion { x := a.get(data); x.Signature = x.Signature[:9]; return x },
		"with bytes behind it": func(a authenticator) webauthn.Assertion {
			x := a.get(data)
			x.Signature = append(x.Signature, 0)
			return x
		},
		"cut short": func(a authenticator) webauthn.Assertion { x := a.get(data); x.AuthData = x.AuthData[:36]; return x },
		"empty":     func(authenticator) webauthn.Assertion { return webauthn.Assertion{} },
		"with flags changed later": func(a authenticator) webauthn.Assertion {
			a.flags &^= 4
			x := a.get(data)
			x.AuthData[32] |= 4
			return x
		},
	} {
		if s, err := passkeys.Signature(id, data, answer(*good)); err == nil {
			t.Errorf("an answer %s was made a signature: %+v", name, s)
		}
	}
}

func TestRegistrationsThatAreNoGood(t *testing.T) {
	challenge := []byte("a challenge")
	for name, change := range map[string]func(a *authenticator, r *webauthn.Registration){
		"another challenge": func(a *authenticator, r *webauthn.Registration) { *r = a.create([]byte("another")) },
		"another site": func(a *authenticator, r *webauthn.Registration) {
			a.rp.ID = "evilhub.example"
			*r = a.create(challenge)
		},
		"another origin": func(a *authenticator, r *webauthn.Registration) {
			a.rp.Origin = "http://phone.example"
			*r = a.create(challenge)
		},
		"no verification":       func(a *authenticator, r *webauthn.Registration) { a.flags = 1; *r = a.create(challenge) },
		"an assertion":          func(a *authenticator, r *webauthn.Registration) { r.ClientData = a.get(challenge).ClientData },
		"another credential":    func(_ *authenticator, r *webauthn.Registration) { r.ID = []byte("another") },
		"no credential":         func(a *authenticator, r *webauthn.Registration) { a.id = nil; *r = a.create(challenge) },
		"a long credential":     func(a *authenticator, r *webauthn.Registration) { a.id = make([]byte, 1024); *r = a.create(challenge) },
		"no authenticator":      func(_ *authenticator, r *webauthn.Registration) { r.Attestation = r.Attestation[:40] },
		"malformed client data": func(_ *authenticator, r *webauthn.Registration) { r.ClientData = []byte("{") },
	} {
		a := newAuthenticator(t)
		r := a.create(challenge)
		change(a, &r)
		if _, err := (Passkeys{&testkit.Documents{}, party}).Register("x", r, challenge); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
}

func TestVaultKeys(t *testing.T) {
	a, store := newAuthenticator(t), &testkit.Documents{}
	vault := Vault{Sealed{store, ProviderVault}, party}
	l := newList(t, store, map[string]Provider{ProviderVault: vault})
	salt, challenge := NewSalt(), []byte("a challenge")
	a.makeVault(vault, challenge, salt)
	for keyType, algorithm := range map[string]string{
		"ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256", "ssh-ed25519": "ssh-ed25519", "ssh-rsa": "rsa-sha2-512",
	} {
		key, err := Generate(keyType, 0)
		if err != nil {
			t.Fatal(err)
		}
		id, err := vault.Add(keyType, key, a.prf(salt))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(id); err != nil {
			t.Fatal(err)
		}
		wantSigns(t, vault, id, algorithm, a.prf(salt))
	}
	if err := vault.Create(newAuthenticator(t).provenVault(vault, challenge, salt)); !errors.Is(err, ErrExists) {
		t.Errorf("a vault with keys in it was replaced: %v", err)
	}
	list, _ := l.All()
	for _, id := range list {
		if err := l.Delete(id); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := store.List("vault"); len(names) > 0 {
		t.Errorf("%v is left", names)
	}
}

// wantSigns verifies a signature of the provider with the identity's public key.
func wantSigns(t *testing.T, p Provider, id Identity, algorithm string, secret []byte) {
	t.Helper()
	data := []byte("bytes to be signed")
	signature, err := p.Sign(t.Context(), id, data, algorithm, unlocked(secret))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Verify(data, signature); err != nil || signature.Format != algorithm {
		t.Errorf("%s: %v", signature.Format, err)
	}
}

// A PRF that answers differently must neither open the vault nor lock a new key
// away under a secret that nobody will see again.
func TestVaultSecretThatIsAnother(t *testing.T) {
	a, vault := newAuthenticator(t), Vault{Sealed{&testkit.Documents{}, ProviderVault}, party}
	salt, challenge := NewSalt(), []byte("a challenge")
	a.makeVault(vault, challenge, salt)
	key, err := Generate("ssh-ed25519", 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := vault.Add("key", key, a.prf(salt))
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"another": a.prf([]byte("x")), "short": a.prf(salt)[:31], "none": nil} {
		if _, err := vault.TakeOut(id, bytes.Clone(secret)); !errors.Is(err, ErrVaultSecret) {
			t.Errorf("%s opens: %v", name, err)
		}
		fresh, _ := Generate("ssh-ed25519", 0)
		if _, err := vault.Add("other", fresh, bytes.Clone(secret)); !errors.Is(err, ErrVaultSecret) {
			t.Errorf("%s locks: %v", name, err)
		}
	}
	if _, err := vault.TakeOut(id, a.prf(salt)); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// What rests is bound to its identity and to every bit of itself.
func TestVaultKeysCannotBeExchanged(t *testing.T) {
	store := &testkit.Documents{}
	a, vault := newAuthenticator(t), Vault{Sealed{store, ProviderVault}, party}
	salt, challenge := NewSalt(), []byte("a challenge")
	a.makeVault(vault, challenge, salt)
	var ids []Identity
	for _, label := range []string{"one", "two"} {
		key, _ := Generate("ecdsa-sha2-nistp256", 0)
		id, err := vault.Add(label, key, a.prf(salt))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	one, _ := store.Get(ids[0].Ref)
	two, _ := store.Get(ids[1].Ref)
	if err := store.Put(ids[0].Ref, two); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.TakeOut(ids[0], a.prf(salt)); err == nil {
		t.Error("another identity's key opens")
	}
	var sealed sealedKey
	if err := json.Unmarshal(one, &sealed); err != nil {
		t.Fatal(err)
	}
	for i := range sealed.Sealed {
		sealed.Sealed[i] ^= 1
		if err := documents.Save(store, ids[0].Ref, sealed); err != nil {
			t.Fatal(err)
		}
		if _, err := vault.TakeOut(ids[0], a.prf(salt)); !errors.Is(err, errDamagedKey) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
		sealed.Sealed[i] ^= 1
	}
	if bytes.Contains(one, []byte("PRIVATE")) || vault.Store.Delete(ids[0].Ref) != nil {
		t.Error("not encrypted")
	}
	if _, err := vault.TakeOut(ids[0], a.prf(salt)); wire.CodeOf(err) != wire.CodeKeyNotFound {
		t.Errorf("a missing key: %v", err)
	}
}

func FuzzPasskeyAnswer(f *testing.F) {
	f.Add([]byte(`{"type":"webauthn.get","challenge":"Yg","origin":"https://phone.example"}`), []byte("auth"), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	blob, err := sshctx.PasskeyBlob(&key.PublicKey, party.ID)
	if err != nil {
		f.Fatal(err)
	}
	passkeys := Passkeys{&testkit.Documents{}, party}
	f.Fuzz(func(t *testing.T, client, auth, signature []byte) {
		id := Identity{Label: "x", Algorithm: ssh.KeyAlgoSKECDSA256, PublicKey: blob}
		if _, err := passkeys.Signature(id, []byte("b"), webauthn.Assertion{ClientData: client, AuthData: auth, Signature: signature}); err == nil {
			t.Error("a signature out of nothing")
		}
	})
}
