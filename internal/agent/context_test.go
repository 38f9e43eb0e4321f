package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/gitsign"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// A client uses a connection for a login that is not the connection's own.
func TestContradiction(t *testing.T) {
	login := func(kind sshctx.Kind, session, host string) sshctx.Context {
		return sshctx.Context{Kind: kind, SessionID: []byte(session), HostKey: []byte(host)}
	}
	bound := func(session, host string, forwarding bool) sshctx.Binding {
		return sshctx.Binding{SessionID: []byte(session), HostKey: []byte(host), Forwarding: forwarding}
	}
	for _, test := range []struct {
		name     string
		about    sshctx.Context
		bindings []sshctx.Binding
		want     bool
	}{
		{"nothing bound", login(sshctx.UserAuth, "s", ""), nil, false},
		{"its own", login(sshctx.UserAuth, "s", ""), []sshctx.Binding{bound("s", "h", false)}, false},
		{"its own, host-bound", login(sshctx.HostBound, "s", "h"), []sshctx.Binding{bound("s", "h", false)}, false},
		{"another session", login(sshctx.UserAuth, "x", ""), []sshctx.Binding{bound("s", "h", false)}, true},
		{"another host", login(sshctx.HostBound, "s", "x"), []sshctx.Binding{bound("s", "h", false)}, true},
		{"through a hop", login(sshctx.HostBound, "s", "h"), []sshctx.Binding{bound("a", "b", true), bound("s", "h", false)}, false},
		{"a hop whose ssh does not bind", login(sshctx.UserAuth, "s", ""), []sshctx.Binding{bound("a", "b", true)}, false},
		{"the forwarded session itself", login(sshctx.UserAuth, "a", ""), []sshctx.Binding{bound("a", "b", true)}, true},
		{"a signature for git", sshctx.Context{Kind: sshctx.SSHSIG}, []sshctx.Binding{bound("s", "h", false)}, false},
		{"bytes of any kind", sshctx.Context{}, []sshctx.Binding{bound("s", "h", false)}, false},
	} {
		if got := contradicts(test.bindings, test.about); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A host that the agent is forwarded to binds the session of a login elsewhere
// to its own key. It gets no name for that.
func TestForwardedBindingGivesNoName(t *testing.T) {
	login := sshctx.Context{Kind: sshctx.UserAuth, SessionID: []byte("s")}
	own := sshctx.Binding{SessionID: []byte("s"), HostKey: []byte("bastion")}
	hop := sshctx.Binding{SessionID: []byte("h"), HostKey: []byte("bastion"), Forwarding: true}
	if got := serverOf([]sshctx.Binding{own}, login); string(got) != "bastion" {
		t.Errorf("bound here: %q", got)
	}
	if got := serverOf([]sshctx.Binding{hop, own}, login); got != nil {
		t.Errorf("bound there: %q", got)
	}
	login.Kind, login.HostKey = sshctx.HostBound, []byte("prod")
	if got := serverOf([]sshctx.Binding{hop}, login); string(got) != "prod" {
		t.Errorf("named by what is signed: %q", got)
	}
}

// What the agent knows of a request reaches the phone, as a claim, together
// with the bindings, which are none.
func TestRequestCarriesContext(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		host := hostKey(t)
		if err := os.WriteFile(file, []byte("prod.example "+string(ssh.MarshalAuthorizedKey(host))), 0o600); err != nil {
			t.Fatal(err)
		}
		w.cfg.KnownHosts = []string{file}
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

// A claim about a git signature is for one hash, once, and not for long.
func TestGitClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gitClaims
		commit := wire.GitObject{Kind: "commit", Subject: "subject"}
		hash := gitsign.HashOf("sha512", []byte("tree"))
		g.put(control.GitClaim{Hash: hash, Object: commit}, time.Now())
		if g.take(gitsign.HashOf("sha256", []byte("tree"))) != nil {
			t.Error("told of another hash")
		}
		if got := g.take(hash); got == nil || *got != commit {
			t.Errorf("got %v", got)
		}
		if g.take(hash) != nil {
			t.Error("told twice")
		}
		g.put(control.GitClaim{Hash: hash, Object: commit}, time.Now())
		time.Sleep(gitClaimLife + time.Second)
		if g.take(hash) != nil {
			t.Error("told late")
		}
		for i := range 3 * maxGitClaims {
			g.put(control.GitClaim{Hash: gitsign.HashOf("sha512", []byte{byte(i)})}, time.Now())
		}
		if len(g.byHash) > maxGitClaims {
			t.Errorf("%d claims are kept", len(g.byHash))
		}
	})
}
