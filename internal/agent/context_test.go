package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// What the agent knows of a request reaches the phone, as a claim, together
// with the bindings, which are none.
func TestRequestCarriesContext(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		host := newSigner(t).PublicKey()
		if err := os.WriteFile(file, []byte("prod.example "+string(ssh.MarshalAuthorizedKey(host))), 0o600); err != nil {
			t.Fatal(err)
		}
		w.files.KnownHosts = []string{file}
		var got wire.RemoteSignRequest
		p.signing(key, func(_ context.Context, r *wire.RemoteSignRequest, received func()) error {
			got = *r
			received()
			return nil
		})
		w.connect(p)
		synctest.Wait()
		r := request(key, "session")
		r.Bindings = []sshctx.Binding{{HostKey: host.Marshal(), SessionID: describe(r.Data).SessionID}}
		if _, err := w.Sign(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got.Context.HostName != "prod.example" || got.Context.ContextQuality != wire.QualityClaimed ||
			len(got.Bindings) != 1 || string(got.Bindings[0]) != string(r.Bindings[0].Marshal()) {
			t.Errorf("got %+v, %d bindings", got.Context, len(got.Bindings))
		}
		for why, change := range map[string]func(*sshagent.SignRequest){
			"unproven": func(r *sshagent.SignRequest) { r.Unproven = true },
			"too long": func(r *sshagent.SignRequest) {
				r.Bindings = []sshctx.Binding{{HostKey: make([]byte, wire.MaxBindingSize), Forwarding: true}}
			},
		} {
			hidden := r
			change(&hidden)
			if _, err := w.Sign(t.Context(), hidden); wire.CodeOf(err) != wire.CodePolicyDenied || len(p.requests()) != 1 {
				t.Errorf("%s: %v, asked %d times", why, err, len(p.requests()))
			}
		}
		r.Bindings[0].SessionID = make([]byte, 32)
		if _, err := w.Sign(t.Context(), r); wire.CodeOf(err) != wire.CodePolicyDenied || len(p.requests()) != 1 {
			t.Errorf("a binding of another session: %v, asked %d times", err, len(p.requests()))
		}
	})
}
