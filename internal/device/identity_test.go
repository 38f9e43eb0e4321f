package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

func newTestKey(t testing.TB) *Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestIDIsTheHashOfThePublicKey(t *testing.T) {
	k := newTestKey(t)
	spki, err := x509.MarshalPKIXPublicKey(k.Certificate().Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if k.ID() != ID(sha256.Sum256(spki)) || IDOf(k.Certificate().Leaf) != k.ID() {
		t.Error("the ID is not the SHA-256 of the SubjectPublicKeyInfo")
	}
}

// The public key is what the ID is the hash of, and verifies what Sign signs.
func TestSign(t *testing.T) {
	k := newTestKey(t)
	if sha256.Sum256(k.PublicKey()) != k.ID() {
		t.Error("the ID is not the hash of PublicKey")
	}
	sig, err := k.Sign([]byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(k.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	digest, other := sha256.Sum256([]byte("message")), sha256.Sum256([]byte("another"))
	if !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], sig) || ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), other[:], sig) {
		t.Error("the signature is not one of the message")
	}
}

func TestParseIDIsStrict(t *testing.T) {
	id := newTestKey(t).ID()
	good := id.String()
	if got, err := ParseID(good); err != nil || got != id || len(good) != 52 {
		t.Fatalf("%v, %v", got, err)
	}
	// 256 bits are 51 characters and one bit: of the last one, the other four
	// bits are unused and could make 16 spellings of one ID.
	loose := 0
	for _, last := range "abcdefghijklmnopqrstuvwxyz234567" {
		if _, err := ParseID(good[:51] + string(last)); err == nil {
			loose++
		}
	}
	if loose != 2 {
		t.Errorf("%d last characters accepted, want 2", loose)
	}
	for name, bad := range map[string]string{
		"empty": "", "short": good[:51], "long": good + "a", "upper case": strings.ToUpper(good), "padding": good + "====",
		"newline inside": good[:10] + "\n" + good[10:], "newline behind": good + "\n", "space": " " + good,
		"a digit not of base32": "1" + good[1:], "hex": hex.EncodeToString(id[:]), "not ASCII": "é" + good[2:],
	} {
		if _, err := ParseID(bad); !errors.Is(err, ErrNotID) {
			t.Errorf("%s: %v", name, err)
		}
		if err := new(ID).UnmarshalText([]byte(bad)); !errors.Is(err, ErrNotID) {
			t.Errorf("%s as text: %v", name, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(newTestKey(f).ID().String())
	f.Add(strings.Repeat("a", 52))
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q is another spelling of %q", s, id)
		}
	})
}

func TestKeyRests(t *testing.T) {
	k := newTestKey(t)
	b, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(b)
	if err != nil || again.ID() != k.ID() {
		t.Fatalf("%v, %v", again, err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	good, err := newTestKey(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)/2], "twice": append(bytes.Clone(good), good...),
		"another curve": pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}),
		"another type":  bytes.ReplaceAll(good, []byte("PRIVATE KEY"), []byte("PUBLIC KEY")),
		"not PKCS #8":   pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte("TOPSECRET")}),
	} {
		if k, err := ParseKey(bad); err == nil || strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	good, err := newTestKey(f).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKey(b)
		if err != nil {
			return
		}
		out, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseKey(out); err != nil || again.ID() != k.ID() {
			t.Errorf("%v, %v", again, err)
		}
	})
}

// spellings are the ways in which the bytes of a secret could stand in text.
func spellings(secret []byte) []string {
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(fmt.Sprint(secret), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
		base64.RawStdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		new(big.Int).SetBytes(secret).String(), strings.Trim(fmt.Sprint(new(big.Int).SetBytes(secret).Bits()), "[]"),
	}
}

// texts prints a value in every way that a careless line of code could.
func texts(t *testing.T, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	wrapped := struct{ unexported, Exported any }{v, v}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%t", "%e"} {
		out[verb] = fmt.Sprintf(verb, v)
		out[verb+" wrapped"] = fmt.Sprintf(verb, wrapped)
		out[verb+" in a slice"] = fmt.Sprintf(verb, []any{v})
	}
	b, err := json.Marshal(wrapped)
	if err != nil {
		t.Logf("json: %v", err) // it says no, which leaks nothing
	}
	out["json"] = string(b)
	var log bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, options), slog.NewJSONHandler(&log, options)} {
		slog.New(handler).Info("m", "v", v, "wrapped", wrapped, "error", fmt.Errorf("with %v", v))
	}
	out["slog"] = log.String()
	return out
}

func checkHidden(t *testing.T, secret []byte, values ...any) {
	t.Helper()
	for _, v := range values {
		for how, text := range texts(t, v) {
			for _, s := range spellings(secret) {
				if strings.Contains(text, s) {
					t.Errorf("%T printed by %s holds the secret: %s", v, how, text)
				}
			}
		}
	}
}

func TestKeyDoesNotLeak(t *testing.T) {
	k := newTestKey(t)
	secret, err := k.private.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ key Key }
	type pointer struct{ key *Key }
	checkHidden(t, secret, k, *k, holder{*k}, &holder{*k}, pointer{k})
}

func TestInvitationDoesNotLeak(t *testing.T) {
	inv := NewInvitation(newTestKey(t).ID(), "laptop", []string{"tcp:192.0.2.7:1"}, "")
	type holder struct{ inv Invitation }
	type offer struct{ o *Offer }
	o := NewOffer(inv, noon)
	secret := inv.secret()
	checkHidden(t, secret[:], inv, &inv, holder{inv}, &holder{inv}, o, offer{o})
	if !strings.Contains(inv.URL(), base64.RawURLEncoding.EncodeToString(secret[:])) {
		t.Error("the URL lacks the secret: this test looks for the wrong thing")
	}
}
