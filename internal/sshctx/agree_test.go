package sshctx

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
)

// What is made of a provider's client data here, `ssh-keygen -Y verify` makes of them
// as well, whichever form they have.
func TestClientDataAsOpenSSHReadsThem(t *testing.T) {
	private, public := newPasskey(t)
	hash := sha512.Sum512([]byte("text"))
	data := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{"file", "", "sha512", string(hash[:])})...)
	challenge, origin := base64.RawURLEncoding.EncodeToString(data), "https://"+application
	line := "me " + string(ssh.MarshalAuthorizedKey(public))
	for i, form := range []string{ // the first five are good
		`{"type":"webauthn.get","challenge":"C","origin":"O","crossOrigin":false}`,
		`{"type":"webauthn.get","challenge":"C","origin":"O"}`,
		`{"type":"webauthn.get","challenge":"C","origin":"O" , "androidPackageName":"com.android.chrome"}`,
		`{"type":"webauthn.get","challenge":"C","origin":"O","crossOrigin":false,"topOrigin":"O","x":[1]}`,
		`{"type":"webauthn.get","challenge":"C","origin":"O"`,
		`{"challenge":"C","origin":"O","type":"webauthn.get"}`,
		`{"type":"webauthn.get","challenge":"C","crossOrigin":false,"origin":"O"}`,
		`{"type": "webauthn.get","challenge":"C","origin":"O"}`,
		` {"type":"webauthn.get","challenge":"C","origin":"O"}`,
		"\ufeff" + `{"type":"webauthn.get","challenge":"C","origin":"O"}`,
		`{"type":"webauthn.get","challenge":"C=","origin":"O"}`,
		`{"type":"webauthn.get","challenge":"C","origin":"O/"}`,
		`{"type":"webauthn.create","challenge":"C","origin":"O"}`,
		`{"type":"webauthn.get","challenge":"C","origin":"https:\/\/phone.example"}`,
		``,
	} {
		w := WebAuthn{Flags: FlagUserPresent | FlagUserVerified, Counter: 7, Origin: origin}
		w.ClientData = strings.NewReplacer(`"C`, `"`+challenge, `"O`, `"`+origin).Replace(form)
		digest := sha256.Sum256(w.Signed(application))
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := &ssh.Signature{Format: FormatWebAuthn, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: ssh.Marshal(w)}
		ours := VerifySignature(public, data, signature)
		if (ours == nil) != (i < 5) {
			t.Errorf("%s: %v", form, ours)
		}
		file := append([]byte("SSHSIG"), ssh.Marshal(struct {
			Version                               uint32
			Key, Namespace, Reserved, Hash, Value []byte
		}{1, public.Marshal(), []byte("file"), nil, []byte("sha512"), ssh.Marshal(signature)})...)
		for _, o := range sshdtest.Both(t) {
			if out, err := verify(t, o, line, file); (err == nil) != (ours == nil) {
				t.Errorf("%s of %s: here %v, there %v: %s", o.Version, form, ours, err, out)
			}
		}
	}
}

// verify runs `ssh-keygen -Y verify` on the signature of "text".
func verify(t *testing.T, o sshdtest.OpenSSH, signer string, signature []byte) (string, error) {
	t.Helper()
	dir := t.TempDir()
	signers, sig := filepath.Join(dir, "signers"), filepath.Join(dir, "sig")
	if err := os.WriteFile(signers, []byte(signer), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sig, pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: signature}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(o.SSHKeygen, "-Y", "verify", "-n", "file", "-f", signers, "-I", "me", "-s", sig)
	cmd.Stdin = strings.NewReader("text")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
