package signer

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"vmux/internal/signer/identity"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

func TestIdentitiesAreManaged(t *testing.T) {
	p := newPhone(t)
	a, b := p.create("a", "ssh-ed25519"), p.create("b", "ssh-ed25519")
	if !a.Default || b.Default {
		t.Error("the first identity is the default one")
	}
	if err := p.Identities.Rename(b, "a"); !errors.Is(err, identity.ErrExists) {
		t.Errorf("renamed to a label in use: %v", err)
	}
	if err := p.Identities.Rename(b, "c"); err != nil {
		t.Fatal(err)
	}
	if found, err := p.Identities.Find(b.Fingerprint()[:20]); err != nil || found.Label != "c" {
		t.Errorf("found %s, %v", found.Label, err)
	}
	if err := p.Identities.SetDefault(b); err != nil {
		t.Fatal(err)
	}
	if err := p.Identities.Delete(b); err != nil {
		t.Fatal(err)
	}
	if len(p.keys) != 1 {
		t.Errorf("%d private keys after deletion", len(p.keys))
	}
	if a, _ = p.Identities.Find("a"); !a.Default {
		t.Error("no default identity is left")
	}
	for name, change := range map[string]func() error{
		"delete": func() error { return p.Identities.Delete(b) }, "rename": func() error { return p.Identities.Rename(b, "d") },
		"default": func() error { return p.Identities.SetDefault(b) }, "disable": func() error { return p.Identities.SetEnabled(b, false) },
	} {
		if err := change(); !errors.Is(err, identity.ErrNoIdentity) {
			t.Errorf("%s of one that is gone: %v", name, err)
		}
	}
	if a, _ = p.Identities.Find("a"); !a.Default {
		t.Error("a failed change of the default took it away")
	}
}

func TestIdentitiesThatAreRefused(t *testing.T) {
	p := newPhone(t)
	a := p.create("a", "ssh-ed25519")
	again := a
	again.Label = "again"
	if err := p.Identities.Add(again); !errors.Is(err, identity.ErrExists) {
		t.Errorf("the same key twice: %v", err)
	}
	if err := p.Identities.Add(p.keys.add(t, "a", "ssh-ed25519")); !errors.Is(err, identity.ErrExists) {
		t.Errorf("the same label twice: %v", err)
	}
	for _, label := range []string{"", " x", "a\nb", "\u202eevil", "\x1b[2J", strings.Repeat("x", wire.MaxNameSize+1)} {
		if err := p.Identities.Add(p.keys.add(t, label, "ssh-ed25519")); err == nil {
			t.Errorf("added an identity labelled %q", label)
		}
		if err := p.Identities.Rename(a, label); err == nil {
			t.Errorf("renamed to %q", label)
		}
	}
	lying := p.keys.add(t, "lying", "ssh-ed25519")
	lying.Algorithm = "ssh-rsa"
	if err := p.Identities.Add(lying); err == nil {
		t.Error("added a key under another algorithm's name")
	}
}

func TestKeyList(t *testing.T) {
	p := newPhone(t)
	a, b := p.create("a", "ssh-ed25519"), p.create("b", "ecdsa-sha2-nistp256")
	if err := p.Identities.SetEnabled(a, false); err != nil {
		t.Fatal(err)
	}
	e, err := wiretest.Envelope(wire.NewID(), wire.KindKeyListRequest, wire.KeyListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	kind, body := p.Serve(t.Context(), p.computer, e, nil)
	list, ok := body.(*wire.KeyListResponse)
	if !ok || kind != wire.KindKeyListResponse || len(list.Keys) != 1 {
		t.Fatalf("%s: %+v", kind, body)
	}
	if err := list.Check(); err != nil {
		t.Error(err)
	}
	k := list.Keys[0]
	if k.Comment != "b" || k.Algorithm != b.Algorithm || string(k.PublicKeyBlob) != string(b.PublicKey) || k.ProviderKind != wire.ProviderUnknown {
		t.Errorf("listed %+v", k)
	}
}

// What was changed counts at the next use.
func TestTwoSignersShareAStore(t *testing.T) {
	p := newPhone(t)
	a := p.create("a", "ssh-ed25519")
	other, err := New(Config{Store: p.cfg.Store})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Identities.SetEnabled(a, false); err != nil {
		t.Fatal(err)
	}
	p.wantCode(p.ask(t.Context(), p.request(a)), wire.CodeKeyDisabled)
}

// What is listed is the caller's own, and what is damaged is no list.
func TestIdentitiesAreTheCallersOwn(t *testing.T) {
	p := newPhone(t)
	a := p.create("a", "ssh-ed25519")
	for range 2 {
		list, err := p.Identities.All()
		if err != nil || len(list) != 1 || list[0].Label != "a" || !list[0].Enabled {
			t.Fatalf("%+v, %v", list, err)
		}
		list[0].Label, list[0].Enabled = "b", false
	}
	if err := p.cfg.Store.Put("identities.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if list, err := p.Identities.All(); err == nil {
		t.Fatalf("the document is damaged, and yet there is %+v", list)
	}
	p.wantCode(p.ask(t.Context(), p.request(a)), wire.CodeInternalError)
}

func FuzzIdentities(f *testing.F) {
	store := &testkit.Documents{}
	s, err := New(Config{Store: store})
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Identities.Add(ram{}.add(f, "a", "ssh-ed25519")); err != nil {
		f.Fatal(err)
	}
	seed, _ := store.Get("identities.json")
	f.Add(seed)
	f.Add([]byte(`{"version":1,"identities":[{"label":"a","algorithm":"","publicKey":"AAAAAA==","enabled":true}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		store := &testkit.Documents{}
		_ = store.Put("identities.json", b)
		s, err := New(Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.Identities.All()
		if err != nil {
			return
		}
		for _, id := range list {
			if identity.CheckLabel(id.Label) != nil || !bytes.Contains(id.PublicKey, []byte(id.Algorithm)) {
				t.Errorf("decoded %+v", id)
			}
			_, _ = id.AuthorizedKey(), id.Fingerprint()
		}
		keys, err := s.KeyList()
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Check(); err != nil {
			t.Errorf("a stored document makes a list that a computer refuses: %v", err)
		}
	})
}
