package sshctx

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"golang.org/x/crypto/ssh"
)

// What OpenSSH refuses of a passkey's signature is refused here too, though the
// passkey has truly signed it: an agent that passed it on would make the person
// approve a login that fails, and what is no answer to these bytes proves nothing.
func TestPasskeySignatureIsCheckedAsOpenSSHDoes(t *testing.T) {
	private, public := newPasskey(t)
	other, _ := newPasskey(t)
	data := []byte("what is to be signed")
	for name, c := range map[string]struct {
		change func(*WebAuthn)
		by     *ecdsa.PrivateKey
		good   bool
	}{
		"as it should be":      {good: true},
		"the user not present": {change: func(w *WebAuthn) { w.Flags &^= FlagUserPresent }},
		"attested data":        {change: func(w *WebAuthn) { w.Flags |= FlagAttested }},
		"extensions promised":  {change: func(w *WebAuthn) { w.Flags |= FlagExtensions }},
		"extensions, unmarked": {change: func(w *WebAuthn) { w.Extensions = []byte{0xa0} }},
		"extensions, marked":   {change: func(w *WebAuthn) { w.Flags |= FlagExtensions; w.Extensions = []byte{0xa0} }, good: true},
		"a quote in the origin": {change: func(w *WebAuthn) {
			w.Origin = `https://phone.example","x":"`
			w.ClientData = clientData("webauthn.get", data, w.Origin)
		}},
		"another origin than it says": {change: func(w *WebAuthn) { w.Origin = "https://other.example" }},
		"another challenge": {change: func(w *WebAuthn) {
			w.ClientData = clientData("webauthn.get", []byte("something else"), w.Origin)
		}},
		"the making of a passkey": {change: func(w *WebAuthn) { w.ClientData = clientData("webauthn.create", data, w.Origin) }},
		"another passkey":         {by: other},
	} {
		t.Run(name, func(t *testing.T) {
			w := WebAuthn{Flags: FlagUserPresent | FlagUserVerified, Counter: 7, Origin: "https://" + application}
			w.ClientData = clientData("webauthn.get", data, w.Origin)
			if c.change != nil {
				c.change(&w)
			}
			by := private
			if c.by != nil {
				by = c.by
			}
			digest := sha256.Sum256(w.Signed(application))
			r, s, err := ecdsa.Sign(rand.Reader, by, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			signature := &ssh.Signature{Format: FormatWebAuthn, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: ssh.Marshal(w)}
			if err := VerifySignature(public, data, signature); (err == nil) != c.good || err != nil && !errors.Is(err, ErrSignature) {
				t.Errorf("%v", err)
			}
		})
	}
}

func clientData(kind string, challenge []byte, origin string) string {
	return fmt.Sprintf(`{"type":"%s","challenge":"%s","origin":"%s","crossOrigin":false}`, kind, base64.RawURLEncoding.EncodeToString(challenge), origin)
}
