package webauthn

import (
	"strings"
	"testing"
)

// A passkey's name is no longer than the 64 bytes that each security key takes, and cut
// between characters (trussed-dev/fido-authenticator#30, nextcloud/twofactor_webauthn#945).
func TestNamesThatEachAuthenticatorTakes(t *testing.T) {
	for label, want := range map[string]string{
		"work": "work", strings.Repeat("a", 64): strings.Repeat("a", 64), strings.Repeat("a", 65): strings.Repeat("a", 64),
		strings.Repeat("ж", 33): strings.Repeat("ж", 32), "x" + strings.Repeat("鍵", 40): "x" + strings.Repeat("鍵", 21),
	} {
		made := RelyingParty{ID: "hub.example"}.Creation(label, NewChallenge(), nil).User
		if made.Name != want || made.DisplayName != want {
			t.Errorf("%q became %q and %q", label, made.Name, made.DisplayName)
		}
	}
}
