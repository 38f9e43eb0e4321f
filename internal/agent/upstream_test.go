package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshagentclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/origin"
	"vmux/internal/agent/upstream"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// behind puts an upstream agent behind the world's, and returns it.
func (w *world) behind() sshagentclient.Agent {
	w.t.Helper()
	keyring := sshagentclient.NewKeyring()
	l, err := net.Listen("unix", filepath.Join(testkit.SocketDir(w.t), "s"))
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sshagentclient.ServeAgent(keyring, c)
			c.Close()
		}
	}()
	w.t.Cleanup(func() { l.Close(); <-ended })
	w.cfg.Upstream = l.Addr().String()
	w.upstream = upstream.New(upstream.Config{Socket: w.cfg.Upstream, ID: w.id, Go: w.tasks.run, Changed: w.journal.Change})
	return keyring
}

// adds adds a key to the upstream agent.
func adds(t *testing.T, to sshagentclient.Agent, comment string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		err = to.Add(sshagentclient.AddedKey{PrivateKey: private, Comment: comment})
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// withKeys is a world whose phone has these keys.
func withKeys(t *testing.T, keys ...ssh.Signer) *world {
	t.Helper()
	w := newWorld(t)
	p := w.addPhone(1, "phone")
	p.hello = wire.Hello{}
	for n, key := range keys {
		p.keys = append(p.keys, remoteKey(key, "phone"+string(rune('1'+n))))
	}
	w.connectAll(p)
	return w
}

// connectAll connects the phone, and returns when all of its keys are there.
func (w *world) connectAll(p *phone) {
	w.t.Helper()
	changed := w.Changed()
	w.connect(p)
	for len(w.keys.All()) < len(p.keys) {
		select {
		case <-changed:
			changed = w.Changed()
		case <-time.After(time.Minute):
			w.t.Fatal("the phone's keys do not come")
		}
	}
}

func (w *world) wantsListed(c sshagent.Connection, want string) {
	w.t.Helper()
	if got := commentsOf(w.Listing(w.t.Context(), c)); got != want {
		w.t.Errorf("listed %q, want %q", got, want)
	}
}

// wantsUpstream waits for a status, whose hint is there where an error is.
func (w *world) wantsUpstream(want control.Upstream) {
	w.t.Helper()
	for {
		changed := w.Changed()
		got := *w.Status().Upstream
		if hint := got.Hint; (hint != "") == (got.Error != "") {
			got.Hint = ""
		}
		if got == want {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			w.t.Fatalf("status: %+v, want %+v", got, want)
		}
	}
}

func forwardedTo(t *testing.T, server ssh.Signer) sshagent.Connection {
	c := to(t, server)
	c.Bindings = append([]sshctx.Binding{{HostKey: newSigner(t).PublicKey().Marshal(), SessionID: []byte("fwd"), Forwarding: true}}, c.Bindings...)
	return c
}

// The key that works at a server stands first there, and no more of the phone's are listed
// than leave a try for each of the upstream agent's.
func TestUpstreamKeysStandLastUnlessTheyWork(t *testing.T) {
	own := []ssh.Signer{newSigner(t), newSigner(t), newSigner(t), newSigner(t)}
	w := withKeys(t, own...)
	keyring := w.behind()
	server := newSigner(t)
	w.wantsListed(sshagent.Connection{}, "phone1 phone2 phone3 phone4")
	adds(t, keyring, "theirs1")
	w.wantsListed(to(t, server), "phone1 phone2 phone3 phone4 theirs1")
	adds(t, keyring, "theirs2")
	w.wantsListed(to(t, server), "phone1 phone2 phone3 theirs1 theirs2")
	works := adds(t, keyring, "theirs3")
	adds(t, keyring, "theirs4")
	w.wantsListed(sshagent.Connection{}, "phone1 phone2 phone3 phone4 theirs1 theirs2 theirs3 theirs4")
	w.wantsListed(to(t, server), "phone1 phone2 theirs1 theirs2 theirs3 theirs4")
	if err := w.login(to(t, server), works); err != nil {
		t.Fatal(err)
	}
	w.wantsListed(to(t, server), "theirs3 phone1 phone2 theirs1 theirs2 theirs4")
	w.wantsListed(to(t, newSigner(t)), "phone1 phone2 theirs1 theirs2 theirs3 theirs4")
	if h := w.Status().History; h[0].Kind != journal.KindSign || h[0].Text != "theirs3: login as root: passed on to the upstream agent, which has signed" {
		t.Errorf("history: %+v", h[0])
	}
	w.wantsUpstream(control.Upstream{Socket: w.cfg.Upstream, Keys: 4})
	if list := w.Status().Identities; len(list) != len(own) {
		t.Errorf("status: %+v", list)
	}
}

// Many a client that does not say where it logs in stops at what it cannot parse: a passkey, or
// the certificate. It sees the upstream agent's keys before those.
func TestUpstreamKeysStandBeforeWhatClientsCannotParse(t *testing.T) {
	w := newWorld(t)
	p := w.addPhone(1, "phone")
	sk, _ := passkey(t)
	p.keys = []wire.RemoteSignerPublicKey{
		{Algorithm: sk.Type(), PublicKeyBlob: sk.Marshal(), Comment: "passkey", ProviderKind: wire.ProviderSecureEnclave},
		remoteKey(newSigner(t), "phone1"),
	}
	w.connectAll(p)
	if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil {
		t.Fatal(err)
	}
	adds(t, w.behind(), "theirs")
	w.wantsListed(sshagent.Connection{}, "phone1 theirs passkey "+certificate.Comment)
	w.wantsListed(to(t, newSigner(t)), certificate.Comment+" phone1 passkey theirs")
}

// A key that a phone holds as well is listed once, and the phone is asked for it.
func TestKeyInBoth(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	w := withKeys(t, key)
	if err := w.behind().Add(sshagentclient.AddedKey{PrivateKey: private, Comment: "theirs"}); err != nil {
		t.Fatal(err)
	}
	w.wantsListed(sshagent.Connection{}, "phone1")
	if _, err := w.Sign(t.Context(), request(key, "session")); err == nil {
		t.Error("signed though the phone was not asked")
	}
}

// What was listed and is gone, as an expired certificate, is not the upstream agent's.
func TestWhatIsGoneIsNotAskedOfTheUpstreamAgent(t *testing.T) {
	w := withKeys(t)
	theirs := adds(t, w.behind(), "theirs")
	gone := request(newSigner(t), "session")
	gone.Connection = own
	gone.Listed = sshagent.NewListing([]sshagent.Identity{{Blob: gone.Blob, Comment: "phone1"}})
	if _, err := w.Sign(t.Context(), gone); wire.CodeOf(err) != wire.CodeKeyNotFound {
		t.Errorf("%v", err)
	}
	if f := w.Status().LastFailure; f == nil || f.Code != wire.CodeKeyNotFound {
		t.Errorf("status: %+v", f)
	}
	r := request(theirs, "session")
	r.Connection = own
	r.Listed = w.Listing(t.Context(), own)
	if _, err := w.Sign(t.Context(), r); err != nil {
		t.Errorf("a listed key of the upstream agent's: %v", err)
	}
}

// attacker: root on a host that the agent is forwarded to. The upstream agent's keys sign
// without asking anybody, so they are for other hosts no more than the certificate is.
func TestUpstreamKeysAreNotForOtherHosts(t *testing.T) {
	w := withKeys(t, newSigner(t))
	key := adds(t, w.behind(), "theirs")
	server, blob := newSigner(t), key.PublicKey().Marshal()
	bound := func(c sshagent.Connection) []byte {
		return sshctx.Context{
			Kind: sshctx.HostBound, SessionID: make([]byte, 32), User: "root", Service: "ssh-connection",
			Algorithm: key.PublicKey().Type(), PublicKey: blob, HostKey: server.PublicKey().Marshal(),
		}.Marshal()
	}
	unreadable := to(t, server)
	unreadable.Bindings[0].HostKey = sshctx.AppendString(sshctx.AppendString(nil, "ssh-new"), []byte("key"))
	file := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "file", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal()
	for _, test := range []struct {
		name    string
		c       sshagent.Connection
		data    []byte
		listed  bool
		signs   bool
		forward bool
	}{
		{"a login", to(t, server), bound(to(t, server)), true, true, false},
		{"a login to another session", to(t, server), loginBy(blob, make([]byte, 20)), true, false, false},
		{"forwarded", forwardedTo(t, server), bound(forwardedTo(t, server)), false, false, false},
		{"forwarded, a file", forwardedTo(t, server), file, false, false, false},
		{"forwarded, and allowed", forwardedTo(t, server), bound(forwardedTo(t, server)), true, true, true},
		{"by nobody knows whom", sshagent.Connection{Unproven: true}, file, false, false, false},
		{"by nobody knows whom, and forwarding is allowed", sshagent.Connection{Unproven: true}, file, false, false, true},
		{"a file", own, file, true, true, false},
		{"not bound", own, loginBy(blob, make([]byte, 32)), true, true, false},
		{"not bound, of another session", own, loginBy(blob, make([]byte, 20)), true, false, false},
		{"a file, by a program that may forward the agent", own, file, true, false, false},
		{"to a server of a new type", unreadable, loginBy(blob, make([]byte, 32)), true, true, false},
	} {
		w.upstreamUse.Forward = test.forward
		if got := strings.Contains(commentsOf(w.Listing(t.Context(), test.c)), "theirs"); got != test.listed {
			t.Errorf("%s: listed %v", test.name, got)
		}
		if _, err := w.Sign(t.Context(), sshagent.SignRequest{Connection: test.c, Blob: blob, Data: test.data}); (err == nil) != test.signs {
			t.Errorf("%s: %v", test.name, err)
		} else if err != nil && wire.CodeOf(err) != wire.CodePolicyDenied {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	w.upstreamUse.Unbound = origin.UnboundAlways
	if _, err := w.Sign(t.Context(), sshagent.SignRequest{Connection: own, Blob: blob, Data: file}); err != nil {
		t.Errorf("--unbound-certificate always: %v", err)
	}
}

// A program that keeps keys of its own in an agent (tsh, step) is named, and told of another agent:
// it has no file of a key that a phone could import.
func TestProgramWhoseKeysAreRefused(t *testing.T) {
	w := withKeys(t)
	program := filepath.Base(os.Args[0])
	wants := func(sentence, hint string) {
		t.Helper()
		w.addRefused(own, false)
		f := w.Status().LastFailure
		if f == nil || f.Code != control.CodeAddRefused || f.About != program || !strings.Contains(f.Sentence, sentence) || !strings.HasSuffix(f.Hint, hint) {
			t.Errorf("%+v", f)
		}
	}
	wants("takes no keys", ": SSH_AUTH_SOCK=SOCKET "+program)
	w.behind()
	wants("Only ssh-add", ": SSH_AUTH_SOCK="+w.cfg.Upstream+" "+program)
}

// What fails is told with the reason: that the agent has refused, or why it was not asked.
func TestUpstreamFailures(t *testing.T) {
	w := withKeys(t)
	keyring := w.behind()
	key := newSigner(t)
	r := request(key, "session")
	r.Connection = own
	wants := func(what, sentence, hint string) {
		t.Helper()
		f := w.Status().LastFailure
		if f == nil || f.Code != control.CodeUpstreamFailed || !strings.Contains(f.Sentence, sentence) || !strings.Contains(f.Hint, hint) {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if _, err := w.Sign(t.Context(), r); err == nil {
		t.Error("signed by a key that nobody has")
	}
	wants("no such key", "The upstream agent has refused to sign.", "ssh-add -l")
	if err := keyring.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.passOn(t.Context(), own, "add that key", []byte{17}); err != nil {
		t.Fatal(err)
	}
	wants("a locked agent", "The upstream agent has refused to add that key.", "SSH_AUTH_SOCK="+w.cfg.Upstream)
	w.cfg.Upstream += ".none"
	w.upstream = upstream.New(upstream.Config{Socket: w.cfg.Upstream, ID: w.id, Go: w.tasks.run, Changed: w.journal.Change})
	if _, err := w.passOn(t.Context(), own, "add that key", []byte{17}); err == nil {
		t.Error("added to nothing")
	}
	wants("no agent", "was not asked to add that key: there is no such socket.", "start that agent")
	if _, err := w.Sign(t.Context(), r); err == nil {
		t.Error("signed by nobody")
	}
	wants("no agent", "was not asked to sign: there is no such socket.", "start that agent")
	w.wantsUpstream(control.Upstream{Socket: w.cfg.Upstream, Error: "there is no such socket"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := len(w.Status().History)
	_, _ = w.passOn(ctx, own, "add that key", []byte{17})
	if n := len(w.Status().History); n != before {
		t.Error("a client that went away is told of as a failure")
	}
}
