package browserphone

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/testkit"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// step is one tap: the call of WebAuthn that is planned, and what comes of it.
func (p *page) step(name string, args map[string]any, change func(*webauthn.Assertion) []byte) (any, error) {
	p.t.Helper()
	b, _ := json.Marshal(args)
	plan, err := p.Prepare(name, b)
	if err != nil {
		p.t.Fatal(err)
	}
	sent := map[string]any{}
	for key, value := range args {
		sent[key] = value
	}
	var prf []byte
	if plan.Create != nil {
		sent["registration"] = p.create(plan.Create)
	} else {
		var a webauthn.Assertion
		if a, prf = p.get(plan.Get); change != nil {
			if other := change(&a); other != nil {
				prf = other
			}
		}
		sent["assertion"] = a
	}
	b, _ = json.Marshal(sent)
	return p.Call(p.t.Context(), name, b, prf)
}

// nothingKept: what is being made is in no list and in no store.
func (p *page) nothingKept() {
	p.t.Helper()
	s, err := p.State()
	names, _ := p.cfg.Store.List("")
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "vault") && !strings.HasPrefix(name, "pass") // passkeys, passphrase
	})
	if err != nil || len(s.Identities) > 0 || s.CA != nil || s.Vault != nil || len(names) > 0 {
		p.t.Errorf("kept: %+v, %+v, %+v, %v, %v", s.Identities, s.CA, s.Vault, names, err)
	}
}

// A key is nowhere until it was tried. Who gives it up learns which passkey is of no
// use now.
func TestNothingIsKeptBeforeTheTrial(t *testing.T) {
	passkey := map[string]any{"label": "face"}
	vault := map[string]any{"label": "v", "algorithm": "ssh-ed25519"}
	ca := map[string]any{"kind": "passkey", "principals": []string{"root"}}
	for name, args := range map[string]map[string]any{"createPasskey": passkey, "createVault": vault, "createCA": ca} {
		p := newPage(t)
		if result, err := p.step(name, args, nil); err != nil || !result.(again).Again {
			t.Fatalf("%s: %v, %v", name, result, err)
		}
		p.nothingKept()
		gone, err := p.Call(t.Context(), "discardKey", nil, nil)
		if c, ok := gone.(newkey.Useless); err != nil || !ok || p.keys[string(c.CredentialID)] == nil || c.RPID != host {
			t.Errorf("%s: gave up %+v, %v", name, gone, err)
		}
		if gone, err = p.Call(t.Context(), "discardKey", nil, nil); err != nil || len(gone.(newkey.Useless).CredentialID) > 0 {
			t.Errorf("%s: gave up %+v again, %v", name, gone, err)
		}
		p.must(name, args)
	}
}

// Another one that is begun takes the place of the one that was not tried.
func TestAnotherKeyIsBegun(t *testing.T) {
	p := newPage(t)
	if _, err := p.step("createPasskey", map[string]any{"label": "one"}, nil); err != nil {
		t.Fatal(err)
	}
	result, err := p.step("createPasskey", map[string]any{"label": "two"}, nil)
	if a, ok := result.(again); err != nil || !ok || p.keys[string(a.Orphan.CredentialID)] == nil {
		t.Errorf("%+v, %v", result, err)
	}
	p.must("createPasskey", map[string]any{"label": "two"})
	if list, err := p.signer.Identities.All(); err != nil || len(list) != 1 || list[0].Label != "two" || len(p.keys) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What an answer to the test shows of a passkey is final: its provider is named, and
// the page is told which passkey is of no use.
func TestTrialsThatFail(t *testing.T) {
	resign := func(p *page, a *webauthn.Assertion, id []byte) {
		client := sha256.Sum256(a.ClientData)
		digest := sha256.Sum256(slices.Concat(a.AuthData, client[:]))
		a.Signature, _ = ecdsa.SignASN1(rand.Reader, p.keys[string(id)], digest[:])
	}
	for name, c := range map[string]struct {
		words  string
		change func(p *page, a *webauthn.Assertion) []byte
	}{
		"another order": {"order and form", func(p *page, a *webauthn.Assertion) []byte {
			a.ClientData = bytes.Replace(a.ClientData, []byte(`{"type":"webauthn.get",`), []byte(`{`), 1)
			a.ClientData = bytes.Replace(a.ClientData, []byte(`}`), []byte(`,"type":"webauthn.get"}`), 1)
			resign(p, a, a.ID)
			return nil
		}},
		"attested data":                   {"attested data", func(p *page, a *webauthn.Assertion) []byte { a.AuthData[32] |= 0x40; resign(p, a, a.ID); return nil }},
		"nobody verified":                 {"did not verify", func(p *page, a *webauthn.Assertion) []byte { a.AuthData[32] = 1; resign(p, a, a.ID); return nil }},
		"a signature over something else": {"does not verify", func(_ *page, a *webauthn.Assertion) []byte { a.AuthData[36]++; return nil }},
	} {
		p := newPage(t)
		args := map[string]any{"label": "face"}
		if _, err := p.step("createPasskey", args, nil); err != nil {
			t.Fatal(err)
		}
		_, err := p.step("createPasskey", args, func(a *webauthn.Assertion) []byte { return c.change(p, a) })
		if err == nil {
			t.Fatalf("%s: kept", name)
		}
		if e := AsError(err); e.Code != "unproven" || !strings.Contains(e.Message, c.words) || e.Orphan == nil || p.keys[string(e.Orphan.CredentialID)] == nil {
			t.Errorf("%s: %+v", name, e)
		}
		p.nothingKept()
		p.must("createPasskey", args)
	}
}

// A vault's passkey that answers otherwise each time locks nothing away.
func TestVaultThatAnswersOtherwise(t *testing.T) {
	p := newPage(t)
	args := map[string]any{"label": "v", "algorithm": "ssh-ed25519"}
	other := func(*webauthn.Assertion) []byte { b := make([]byte, 32); _, _ = rand.Read(b); return b }
	for i := range 3 {
		result, err := p.step("createVault", args, other)
		if i < 2 && (err != nil || !result.(again).Again) {
			t.Fatalf("asked %d times: %v, %v", i, result, err)
		}
		if i == 2 {
			if e := AsError(err); err == nil || e.Code != "unproven" || !strings.Contains(e.Message, "each time") || e.Orphan == nil {
				t.Errorf("%+v", e)
			}
		}
		p.nothingKept()
	}
}

// A passphrase that is wrong costs no second passkey.
func TestWrongPassphraseKeepsThePasskey(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t)
	args := map[string]any{"label": "old", "file": string(pem.EncodeToMemory(file)), "passphrase": "wrong"}
	p.wantFailure("wrongPassphrase", "importVault", args)
	p.nothingKept()
	args["passphrase"] = "right"
	p.must("importVault", args)
	if len(p.keys) != 1 {
		t.Errorf("%d passkeys were made", len(p.keys))
	}
}

// slowStore does something while a document is written, and may fail.
type slowStore struct {
	testkit.Documents
	writing func(name string) error
}

func (s *slowStore) Put(name string, b []byte) error {
	if s.writing != nil {
		if err := s.writing(name); err != nil {
			return fmt.Errorf("%w (%w)", ErrStorage, err)
		}
	}
	return s.Documents.Put(name, b)
}

func (s *slowStore) Delete(name string) error {
	if s.writing != nil {
		if err := s.writing(name); err != nil {
			return fmt.Errorf("%w (%w)", ErrStorage, err)
		}
	}
	return s.Documents.Delete(name)
}

// A person closes the sheet after the passkey has proven itself, while the store is
// slow or the browser looks for primes. The key comes into being all the same, so that
// the browser must not be told that its passkey is of no use: it would delete it.
func TestGivingUpTooLate(t *testing.T) {
	for name, c := range map[string]struct {
		function string
		args     map[string]any
		at       string
	}{
		"a passkey":                 {"createPasskey", map[string]any{"label": "k"}, "passkeys/"},
		"a passkey's place":         {"createPasskey", map[string]any{"label": "k"}, "identities.json"},
		"a vault":                   {"createVault", map[string]any{"label": "k", "algorithm": "ssh-ed25519"}, "vault.json"},
		"a vault's key":             {"createVault", map[string]any{"label": "k", "algorithm": "ssh-ed25519"}, "vault/"},
		"a vault's RSA":             {"createVault", map[string]any{"label": "k", "algorithm": "ssh-rsa"}, "rsa"},
		"a CA":                      {"createCA", map[string]any{"kind": "passkey", "principals": []string{"root"}}, "ca.json"},
		"a CA in the vault":         {"createCA", map[string]any{"kind": "vault", "principals": []string{"root"}}, "ca.json"},
		"a key before it is listed": {"createVault", map[string]any{"label": "k", "algorithm": "ssh-ed25519"}, "identities.json"},
	} {
		store, times := &slowStore{}, 0
		var p *page
		store.writing = func(document string) error {
			if strings.HasPrefix(document, c.at) {
				times++
				if gone, err := p.Call(t.Context(), "discardKey", nil, nil); err != nil || len(gone.(newkey.Useless).CredentialID) > 0 {
					t.Errorf("%s: gave up %+v, %v", name, gone, err)
				}
			}
			return nil
		}
		p = newPage(t, func(cfg *Config) {
			cfg.Store = store
			cfg.GenerateRSA = func(context.Context, int) (*rsa.PrivateKey, error) {
				key, _ := rsa.GenerateKey(rand.Reader, 2048)
				return key, store.writing("rsa")
			}
		})
		p.must(c.function, c.args)
		if s, err := p.State(); err != nil || len(s.Identities) != 1 && s.CA == nil || times == 0 {
			t.Errorf("%s: %+v, %v, given up %d times", name, s.Identities, err, times)
		}
	}
}

// A store that fails while a key is kept may have written it. The same passkey serves
// for the next attempt, and is not told to be of no use: the key may be there after the
// page was loaded again.
func TestStoreThatFailsWhileAKeyIsKept(t *testing.T) {
	for i, c := range slices.Repeat([]struct {
		function string
		args     map[string]any
	}{
		{"createPasskey", map[string]any{"label": "k"}},
		{"createVault", map[string]any{"label": "k", "algorithm": "ssh-ed25519"}},
		{"createCA", map[string]any{"kind": "passkey", "principals": []string{"root"}}},
		{"createCA", map[string]any{"kind": "vault", "principals": []string{"root"}}},
	}, 2) {
		again := i < 4
		for _, document := range []string{"passkeys/", "vault.json", "vault/", "identities.json", "ca.json"} {
			store, failed := &slowStore{}, false
			p := newPage(t, func(cfg *Config) { cfg.Store = store })
			store.writing = func(name string) error {
				if failed || !strings.HasPrefix(name, document) {
					return nil
				}
				failed = true
				return errNotAsked
			}
			_, err := p.tap(c.function, c.args)
			if !failed {
				continue
			}
			if e := AsError(err); err == nil || e.Code != "storage" || e.Orphan != nil {
				t.Errorf("%s, %s: %v", c.function, document, err)
			}
			if !again {
				if gone, err := p.Call(t.Context(), "discardKey", nil, nil); err != nil || len(gone.(newkey.Useless).CredentialID) > 0 {
					t.Errorf("%s, %s: gave up %+v, %v", c.function, document, gone, err)
				}
				continue
			}
			p.must(c.function, c.args)
			if len(p.keys) != 1 {
				t.Errorf("%s, %s: %d passkeys were made", c.function, document, len(p.keys))
			}
		}
	}
}

// A provider answers with a passkey that is there: some let the person choose one to
// write over. The key that has it stays whole, and nobody is told to delete its passkey.
func TestPasskeyThatIsInUse(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	p.must("createVault", map[string]any{"label": "v", "algorithm": "ssh-ed25519"})
	credential, err := p.passkeys.Credential(p.identity("face"))
	if err != nil {
		t.Fatal(err)
	}
	vault, err := p.vault.Info()
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string][]byte{"a key's": credential.ID, "the vault's": vault.ID} {
		for _, form := range []string{"", "of another request"} {
			args := map[string]any{"label": "second"}
			b, _ := json.Marshal(args)
			plan, err := p.Prepare("createPasskey", b)
			if err != nil || plan.Create == nil {
				t.Fatalf("%+v, %v", plan, err)
			}
			if form != "" {
				plan.Create.Challenge = []byte(form)
			}
			args["registration"] = p.register(plan.Create, p.keys[string(id)])
			b, _ = json.Marshal(args)
			result, err := p.Call(t.Context(), "createPasskey", b, nil)
			if e := AsError(err); err == nil || e.Code != "inUse" || e.Orphan != nil || strings.Contains(e.Hint, "no use") {
				t.Errorf("%s passkey %s: %+v, %v", name, form, result, err)
			}
		}
	}
	if _, err := p.passkeys.Credential(p.identity("face")); err != nil {
		t.Error(err)
	}
	// The same of one that is being made.
	if _, err := p.step("createPasskey", map[string]any{"label": "second"}, nil); err != nil {
		t.Fatal(err)
	}
	args := map[string]any{"label": "third"}
	b, _ := json.Marshal(args)
	plan, err := p.Prepare("createPasskey", b)
	if err != nil {
		t.Fatal(err)
	}
	args["registration"] = p.register(plan.Create, p.keys[string(p.made.Key().Passkey.Credential.ID)])
	b, _ = json.Marshal(args)
	if result, err := p.Call(t.Context(), "createPasskey", b, nil); err != nil || len(result.(again).Orphan.CredentialID) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// While the store is slow with a vault's first key, the person closes the sheet and makes
// another: the vault is not made anew under the first, which would be lost.
func TestSecondVaultWhileTheFirstIsStored(t *testing.T) {
	store := &slowStore{}
	p := newPage(t, func(cfg *Config) { cfg.Store = store })
	args := func(label string) map[string]any { return map[string]any{"label": label, "algorithm": "ssh-ed25519"} }
	store.writing = func(document string) error {
		if strings.HasPrefix(document, "vault/") {
			store.writing = nil
			if _, err := p.tap("createVault", args("second")); err == nil {
				t.Fatal("there is another vault")
			} else if e := AsError(err); e.Code != "busy" || e.Orphan != nil {
				t.Errorf("the second: %v", err)
			}
		}
		return nil
	}
	p.must("createVault", args("first"))
	if _, err := p.tap("createVault", args("second")); err == nil {
		t.Error("into a vault of its own")
	} else if e := AsError(err); e.Code != "exists" || e.Orphan == nil || p.keys[string(e.Orphan.CredentialID)] == nil {
		t.Errorf("into a vault of its own: %v", err)
	}
	p.must("createVault", args("second"))
	for _, label := range []string{"first", "second"} {
		p.mustSign(label)
	}
}

// While the store is slow with a key, the vault's only other one is deleted: the vault
// stays.
func TestDeletingWhileAKeyIsStored(t *testing.T) {
	store := &slowStore{}
	p := newPage(t, func(cfg *Config) { cfg.Store = store })
	p.must("createVault", map[string]any{"label": "old", "algorithm": "ssh-ed25519"})
	store.writing = func(document string) error {
		if strings.HasPrefix(document, "vault/") {
			store.writing = nil
			if _, err := p.tap("deleteIdentity", map[string]any{"fingerprint": p.identity("old").Fingerprint()}); err == nil {
				t.Fatal("deleted")
			}
		}
		return nil
	}
	p.must("createVault", map[string]any{"label": "new", "algorithm": "ssh-ed25519"})
	p.must("deleteIdentity", map[string]any{"fingerprint": p.identity("old").Fingerprint()})
	p.mustSign("new")
}

// mustSign has the key sign a login.
func (p *page) mustSign(label string) {
	p.t.Helper()
	r := p.signRequest(p.identity(label))
	answer := p.asks(p.t.Context(), wire.KindSignRequest, r.RequestID, r)
	p.must("approve", map[string]any{"id": p.sheet().ID})
	if got, ok := (<-answer).(*wire.SignResponse); !ok || got.Error != nil {
		p.t.Errorf("%s: %+v", label, got)
	}
	p.end()
}

// A key that was made for a vault that cannot be stored leaves nothing in memory.
func TestKeyWithoutAVaultIsWiped(t *testing.T) {
	store := &slowStore{writing: func(document string) error {
		if document == "vault.json" {
			return errNotAsked
		}
		return nil
	}}
	var key *rsa.PrivateKey
	p := newPage(t, func(cfg *Config) {
		cfg.Store = store
		cfg.GenerateRSA = func(context.Context, int) (_ *rsa.PrivateKey, err error) {
			key, err = rsa.GenerateKey(rand.Reader, 2048)
			return key, err
		}
	})
	p.wantFailure("storage", "createVault", map[string]any{"label": "k", "algorithm": "ssh-rsa"})
	if i := slices.IndexFunc(key.D.Bits(), func(w big.Word) bool { return w != 0 }); i >= 0 {
		t.Error("the private exponent is still there")
	}
}

// A store that failed in the middle of an import, and at undoing it, keeps nobody from
// importing that key once it works again. A key that is there is refused, and stays.
func TestImportAfterAStoreThatFailed(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	store, dead := &slowStore{}, false
	p := newPage(t, func(cfg *Config) { cfg.Store = store })
	p.must("createVault", map[string]any{"label": "other", "algorithm": "ssh-ed25519"})
	store.writing = func(document string) error {
		if dead = dead || document == "identities.json"; dead {
			return errNotAsked
		}
		return nil
	}
	args := map[string]any{"label": "old", "file": string(pem.EncodeToMemory(file))}
	p.wantFailure("storage", "importVault", args)
	store.writing = nil
	if n, err := p.vault.Keys(); err != nil || n != 2 {
		t.Fatalf("the store did not fail as it should: %d keys, %v", n, err)
	}
	p.must("importVault", args)
	p.wantFailure("exists", "importVault", map[string]any{"label": "again", "file": args["file"]})
	p.mustSign("old")
	p.mustSign("other")
}
