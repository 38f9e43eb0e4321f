package passphrase

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/testkit"
)

const phrase = "correct horse battery"

// still is a clock that stands still, so that the least work is done.
func still() time.Time { return time.Unix(0, 0) }

// withKey is a vault with one key in it.
func withKey(t *testing.T, store documents.Store) (*Vault, identity.Identity) {
	t.Helper()
	v := New(store, still)
	secret, err := v.Open([]byte(phrase))
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.Generate(ssh.KeyAlgoED25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Add("desktop", key, secret)
	if err != nil {
		t.Fatal(err)
	}
	return v, id
}

// signs reports why a passphrase does not sign, if so.
func signs(t *testing.T, v *Vault, id identity.Identity, passphrase string) error {
	t.Helper()
	secret, err := v.Unlock([]byte(passphrase))
	if err != nil {
		return err
	}
	data := []byte("bytes to be signed")
	signature, err := v.Sign(t.Context(), id, data, id.Algorithm, func(context.Context, int) ([]byte, error) { return secret, nil })
	if err != nil {
		return err
	}
	if !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Error("the secret was left as it was")
	}
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		return err
	}
	return key.Verify(data, signature)
}

// Its passphrase opens it and no other does. What rests says neither passphrase nor key.
func TestOpens(t *testing.T) {
	store := &testkit.Documents{}
	v, id := withKey(t, store)
	if err := signs(t, v, id, phrase); err != nil {
		t.Error(err)
	}
	for _, other := range []string{"", "correct horse batterz", phrase + " ", strings.Repeat("x", maxSize+1)} {
		if err := signs(t, v, id, other); !errors.Is(err, ErrWrong) {
			t.Errorf("%.30q: %v", other, err)
		}
	}
	if secret, err := v.Open([]byte("another passphrase")); !errors.Is(err, ErrWrong) || secret != nil {
		t.Errorf("a vault with a key in it was made anew: %v", err)
	}
	names, _ := store.List("")
	for _, name := range names {
		b, _ := store.Get(name)
		if bytes.Contains(b, []byte("horse")) || bytes.Contains(b, []byte("PRIVATE")) || !strings.HasPrefix(name, "passphrase") {
			t.Errorf("%s: %s", name, b)
		}
	}
	if err := v.Forget(id); err != nil {
		t.Fatal(err)
	}
	if names, _ := store.List(""); len(names) > 0 {
		t.Errorf("%v outlived the last key", names)
	}
	if _, err := v.Unlock([]byte(phrase)); !errors.Is(err, identity.ErrNoVault) {
		t.Errorf("no vault: %v", err)
	}
}

// A new passphrase has a length, and no other rule: letters of any alphabet count as one.
func TestNewPassphrases(t *testing.T) {
	for passphrase, good := range map[string]bool{
		"": false, "elevenchars": false, "äöüäöüäöüäö": false,
		"twelve chars": true, "äöüäöüäöüäöü": true, "密码密码密码密码密码密码": true, strings.Repeat("x", maxSize+1): false,
	} {
		if err := Check([]byte(passphrase)); (err == nil) != good {
			t.Errorf("%.30q: %v", passphrase, err)
		}
	}
	store := &testkit.Documents{}
	if _, err := New(store, still).Open([]byte("too short")); !errors.Is(err, ErrWeak) {
		t.Error(err)
	}
	if names, _ := store.List(""); len(names) > 0 {
		t.Errorf("kept %v", names)
	}
}

func TestChange(t *testing.T) {
	store := &testkit.Documents{}
	v, id := withKey(t, store)
	before, _ := store.Get(v.Document())
	const next = "staple staple staple"
	for why, change := range map[error]func() error{
		ErrWrong: func() error { return v.Change([]byte("not the old one"), []byte(next)) },
		ErrWeak:  func() error { return v.Change([]byte(phrase), []byte("short")) },
	} {
		if err := change(); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	}
	full := New(testkit.Failing{Documents: store, Left: new(int)}, still)
	if err := full.Change([]byte(phrase), []byte(next)); err == nil {
		t.Error("changed in a store that is full")
	}
	if now, _ := store.Get(v.Document()); !bytes.Equal(now, before) {
		t.Error("a change that failed has changed something")
	}
	if err := v.Change([]byte(phrase), []byte(next)); err != nil {
		t.Fatal(err)
	}
	if err := signs(t, v, id, phrase); !errors.Is(err, ErrWrong) {
		t.Errorf("the old passphrase: %v", err)
	}
	if err := signs(t, v, id, next); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

// Who can write to the browser's storage can neither make guessing cheap, nor have the
// page work itself to death.
func TestWorkIsBounded(t *testing.T) {
	store := &testkit.Documents{}
	v, _ := withKey(t, store)
	good, err := v.info()
	if err != nil {
		t.Fatal(err)
	}
	if good.Lock.Memory != 64<<10 || good.Lock.Passes != 3 {
		t.Errorf("the least work is %+v", good.Lock)
	}
	for why, change := range map[string]func(l *lock){
		"no passes":       func(l *lock) { l.Passes = 0 },
		"few passes":      func(l *lock) { l.Passes = 2 },
		"many passes":     func(l *lock) { l.Passes = 17 },
		"passes for ever": func(l *lock) { l.Passes = 1<<32 - 1 },
		"no memory":       func(l *lock) { l.Memory = 0 },
		"little memory":   func(l *lock) { l.Memory = 64<<10 - 1 },
		"much memory":     func(l *lock) { l.Memory = 128<<10 + 1 },
		"all memory":      func(l *lock) { l.Memory = 1<<32 - 1 },
		"no salt":         func(l *lock) { l.Salt = nil },
	} {
		changed := good
		change(&changed.Lock)
		if err := documents.Save(store, v.Document(), changed); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Unlock([]byte(phrase)); !errors.Is(err, errWork) && !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// What rests is bound to every part of itself.
func TestDamage(t *testing.T) {
	store := &testkit.Documents{}
	v, _ := withKey(t, store)
	good, err := v.info()
	if err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(l *lock){
		"sealed": func(l *lock) { l.Sealed = append(bytes.Clone(l.Sealed[:4]), l.Sealed[5:]...) },
		"nonce":  func(l *lock) { l.Nonce = bytes.Repeat([]byte{1}, 12) },
		"short":  func(l *lock) { l.Nonce = l.Nonce[1:] },
		"salt":   func(l *lock) { l.Salt = bytes.Repeat([]byte{1}, 16) },
		"passes": func(l *lock) { l.Passes++ },
	} {
		changed := good
		change(&changed.Lock)
		if err := documents.Save(store, v.Document(), changed); err != nil {
			t.Fatal(err)
		}
		if secret, err := v.Unlock([]byte(phrase)); err == nil || secret != nil {
			t.Errorf("with another %s it opens", why)
		}
	}
}

func TestCalibration(t *testing.T) {
	for took, passes := range map[time.Duration]uint32{
		0: 3, -time.Second: 3, time.Nanosecond: 16, 100 * time.Millisecond: 16, 250 * time.Millisecond: 9,
		500 * time.Millisecond: 4, 750 * time.Millisecond: 3, time.Minute: 3,
	} {
		if got := calibrated(took); got != passes {
			t.Errorf("%v: %d passes, want %d", took, got, passes)
		}
	}
}

// A quick device is given more to do than the least, and opens what it has made.
func TestQuickDevice(t *testing.T) {
	now := still()
	v := New(&testkit.Documents{}, func() time.Time { now = now.Add(450 * time.Millisecond); return now })
	secret, err := v.Open([]byte(phrase))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := v.info(); err != nil || i.Lock.Passes != 5 {
		t.Errorf("%+v, %v", i.Lock, err)
	}
	if again, err := v.Unlock([]byte(phrase)); err != nil || !bytes.Equal(again, secret) {
		t.Errorf("%v", err)
	}
}

func TestSuggestions(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s := Suggest()
		if !regexp.MustCompile(`^([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz](-|$)){4}$`).MatchString(s) || seen[s] || Check([]byte(s)) != nil {
			t.Errorf("%q", s)
		}
		seen[s] = true
	}
}
