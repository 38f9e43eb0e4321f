package webauthn

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// FuzzRegistration: whatever a provider answers, a registration is refused or names
// a key on the curve.
func FuzzRegistration(f *testing.F) {
	f.Add([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x41\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Registration{Attestation: b}
		data, err := r.authData()
		if err != nil || len(data) < authDataHead {
			return
		}
		id, public, err := parseAttested(data[authDataHead:])
		if err != nil {
			return
		}
		if blob, err := sshctx.PasskeyBlob(public, "phone.example"); err != nil || len(id) == 0 {
			t.Errorf("%v, %x", err, id)
		} else if _, err := ssh.ParsePublicKey(blob); err != nil {
			t.Error(err)
		}
	})
}
