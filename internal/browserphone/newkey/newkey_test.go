package newkey

import (
	"bytes"
	"testing"

	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
)

func keyOf(credential string) Key {
	return Key{Passkey: &identity.NewPasskey{Credential: webauthn.Credential{ID: []byte(credential), RPID: "phone.example"}}}
}

// Whoever is told to delete a passkey is told so of one that nothing can need any more.
func TestOnlyWhatIsUselessIsToldSo(t *testing.T) {
	var p Place
	one, two := keyOf("one"), keyOf("two")
	if gone := p.Begin(one); gone.CredentialID != nil {
		t.Errorf("nothing was there, and %q is useless", gone.CredentialID)
	}
	if gone := p.Begin(keyOf("one")); gone.CredentialID != nil {
		t.Error("the provider has answered with the same passkey, and it is useless")
	}
	if gone := p.Begin(two); string(gone.CredentialID) != "one" || gone.RPID != "phone.example" {
		t.Errorf("another began, and %q is useless", gone.CredentialID)
	}
	if p.Claim(one) || !p.Claim(two) {
		t.Error("claimed another key than the one that is there")
	}
	if gone := p.Begin(Key{}); gone.CredentialID != nil {
		t.Errorf("%q is being kept, and useless", gone.CredentialID)
	}
	p.GiveBack(two, true)
	if gone := p.Begin(Key{}); gone.CredentialID != nil {
		t.Errorf("%q may have been kept, and is useless", gone.CredentialID)
	}
}

// An answer counts once, and only to a question that was asked of late.
func TestEachCallComesBackOnce(t *testing.T) {
	var p Place
	for n := range maxCalls + 1 {
		p.Plan(Call{Challenge: bytes.Repeat([]byte{byte(n)}, 32)})
	}
	for n, want := range map[int]bool{0: false, 1: true, maxCalls: true} {
		challenge := bytes.Repeat([]byte{byte(n)}, 32)
		_, first := p.Take(challenge)
		if _, again := p.Take(challenge); first != want || again {
			t.Errorf("call %d: %v, %v", n, first, again)
		}
	}
	if _, ok := p.Take(nil); ok {
		t.Error("an answer to nothing is one")
	}
}
