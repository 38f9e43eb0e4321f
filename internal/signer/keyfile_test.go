package signer

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// A wrong passphrase may be corrected twice.
func TestWrongPassphrase(t *testing.T) {
	p := newPhone(t)
	id, err := p.Identities.Create("a", "ssh-ed25519", 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	p.cfg.Approver.Failed = func(PassphraseRequest) { failed++ }
	for n, c := range []struct {
		answers []string
		tries   int
		want    wire.Code
	}{
		{[]string{"wrong", "", string(secret)}, 3, ""},
		{[]string{"wrong", "wrong", "wrong", string(secret)}, 3, wire.CodeAuthenticationFailed},
	} {
		tries := 0
		p.approver.Passphrase = func(_ context.Context, r PassphraseRequest) ([]byte, error) {
			if tries++; r.Attempt != tries || r.Label.String() != "a" {
				t.Errorf("attempt %d of %s, want %d", r.Attempt, r.Label, tries)
			}
			return []byte(c.answers[tries-1]), nil
		}
		answer := p.ask(t.Context(), p.request(id))
		if got := codeOf(answer.Error); got != c.want || tries != c.tries {
			t.Errorf("answered %q after %d tries, want %q after %d", got, tries, c.want, c.tries)
		}
		if failed != n { // the second alone
			t.Errorf("it is told %d times that none was right", failed)
		}
	}
	p.approver.Passphrase = func(context.Context, PassphraseRequest) ([]byte, error) { return nil, errors.New("no terminal") }
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeAuthenticationFailed)
	if failed != 1 {
		t.Error("it is told of a passphrase that nobody has typed")
	}
}

// What a person typed is overwritten as soon as it has been used.
func TestPassphraseIsWiped(t *testing.T) {
	p := newPhone(t)
	id, err := p.Identities.Create("a", "ssh-ed25519", 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	typed := bytes.Clone(secret)
	p.approver.Passphrase = func(context.Context, PassphraseRequest) ([]byte, error) { return typed, nil }
	if answer := p.ask(t.Context(), p.request(id)); answer.Error != nil {
		t.Fatal(answer.Error)
	}
	if !bytes.Equal(typed, make([]byte, len(secret))) {
		t.Error("the passphrase is still there")
	}
}

func TestNothingSecretRestsInTheStore(t *testing.T) {
	store := &testkit.Documents{}
	s, err := New(Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Identities.Create("a", "ecdsa-sha2-nistp256", 0, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	names, _ := store.List("")
	if len(names) != 6 { // two of them the log
		t.Fatalf("documents: %v", names)
	}
	for _, name := range names {
		b, _ := store.Get(name)
		if bytes.Contains(b, secret) {
			t.Errorf("%s holds the passphrase", name)
		}
		if strings.HasPrefix(name, "keys/") {
			var missing *ssh.PassphraseMissingError
			if _, err := ssh.ParseRawPrivateKey(b); !errors.As(err, &missing) {
				t.Errorf("%s can be read without the passphrase: %v", name, err)
			}
		}
	}
}

// The approver is told of a secret that was typed and was right, to remember it, and of no
// other; the record says of one that nobody typed.
func TestUnlocked(t *testing.T) {
	p := newPhone(t)
	id, err := p.Identities.Create("a", "ssh-ed25519", 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	var told []string
	remembers := false
	p.approver.Passphrase = func(_ context.Context, r PassphraseRequest) ([]byte, error) {
		if r.Key != id.Fingerprint() {
			t.Errorf("asked for the key %s", r.Key)
		}
		if remembers && r.Attempt == 1 {
			r.Remembered()
		}
		return []byte(answers[r.Attempt-1]), nil
	}
	p.cfg.Approver.Unlocked = func(r PassphraseRequest, secret []byte) { told = append(told, r.Key+" "+string(secret)) }
	right := string(secret)
	for _, c := range []struct {
		name       string
		answers    []string
		remembers  bool
		told       int
		remembered bool // of the record
	}{
		{"right", []string{right}, false, 1, false},
		{"right at last", []string{"wrong", right}, false, 1, false},
		{"wrong", []string{"wrong", "wrong", "wrong"}, false, 0, false},
		{"remembered", []string{right}, true, 0, true},
		{"remembered another one", []string{"of before", right}, true, 1, false},
	} {
		answers, remembers, told = c.answers, c.remembers, nil
		answer := p.ask(t.Context(), p.request(id))
		if len(told) != c.told || c.told == 1 && told[0] != id.Fingerprint()+" "+right {
			t.Errorf("%s: told of %q", c.name, told)
		}
		if answer.Error != nil {
			continue
		}
		records, err := p.Activity.Records()
		if err != nil || records[len(records)-1].Remembered != c.remembered {
			t.Errorf("%s: the record: %+v, %v", c.name, records[len(records)-1], err)
		}
	}
}
