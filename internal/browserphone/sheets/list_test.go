package sheets

import (
	"errors"
	"testing"

	"vmux/internal/device"
	"vmux/internal/signer/identity"
)

// The first answer counts. What a later one brings is wiped, and so is what nobody has
// fetched when the request ends; nothing of it is left then.
func TestSecretsOfSheets(t *testing.T) {
	var l List
	key := Key{From: device.ID{1}, ID: "request"}
	r := New(Request{Key: key, Signing: identity.Identity{Provider: identity.ProviderVault}}, Sheet{})
	id := l.Show(r).ID
	first, second := []byte("first"), []byte("second")
	if err := l.Take(r, Answer{Approved: true}, first); err != nil {
		t.Fatal(err)
	}
	if err := l.Take(r, Answer{}, second); !errors.Is(err, ErrEnded) || second[0] != 0 {
		t.Errorf("answered twice: %v, %q", err, second)
	}
	if a, err := r.Answer(t.Context()); err != nil || !a.Approved {
		t.Errorf("answered %+v, %v", a, err)
	}
	if _, err := l.Get(id); !errors.Is(err, ErrEnded) {
		t.Errorf("it can be answered again: %v", err)
	}
	if end, shown := l.Close(key, End{Outcome: OutcomeApproved}); !shown || end.ID != id || first[0] != 0 {
		t.Errorf("ended as %+v, %q", end, first)
	}
	if _, shown := l.Close(key, End{}); shown || l.Secret(key) != nil || len(l.byID)+len(l.byKey)+len(l.order) != 0 {
		t.Errorf("left %+v", l.order)
	}
	if end, err := r.End(t.Context()); err != nil || end.Outcome != OutcomeApproved {
		t.Errorf("ended as %+v, %v", end, err)
	}
}

// A passkey's answer is the signature itself, a vault's opens the vault.
func TestChallengeOfASheet(t *testing.T) {
	var l List
	data := []byte("bytes to be signed")
	for provider, same := range map[string]bool{identity.ProviderPasskey: true, identity.ProviderVault: false} {
		r := New(Request{Signing: identity.Identity{Provider: provider}, Data: data}, Sheet{})
		if _, challenge, _ := l.Now(r); (string(challenge) == string(data)) != same || len(challenge) == 0 {
			t.Errorf("%s: %q", provider, challenge)
		}
	}
}
