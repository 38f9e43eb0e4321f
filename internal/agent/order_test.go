package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshconfig"
	"vmux/internal/sshctx"
	"vmux/internal/state"
	"vmux/internal/wire"
)

func TestOrder(t *testing.T) {
	key := func(name string, change ...func(*keys.Info)) *keys.Key {
		id := &keys.Key{Info: keys.Info{Fingerprint: name, Comment: name, PublicKeyBlob: []byte(name), Algorithm: "ssh-ed25519"}}
		for _, c := range change {
			c(&id.Info)
		}
		return id
	}
	passkey := func(k *keys.Info) { k.Algorithm = ssh.KeyAlgoSKECDSA256 }
	isDefault := func(k *keys.Info) { k.Default = true }
	only := func(host string) func(*keys.Info) { return func(k *keys.Info) { k.Hosts = []string{host} } }
	keys := []*keys.Key{
		key("a"), key("b"), key("c"), key("d", isDefault), key("e"), key("f"),
		key("here", only("host")), key("there", only("elsewhere")), key("sk", passkey), key("sk2", passkey),
	}
	chosen := func(names ...string) client.Login {
		keys := map[string]bool{}
		for _, n := range names {
			keys[n] = true
		}
		return client.Login{Login: sshconfig.Login{Keys: keys}}
	}
	unclear := client.Login{Login: sshconfig.Login{Unclear: true}}
	for _, test := range []struct {
		name  string
		order order
		want  string
	}{
		{"an unknown host", order{limit: 4}, "here d a b"},
		{"after a login in vain", order{limit: 4, vain: 1}, "c e"},
		{"and another", order{limit: 4, vain: 2}, ""},
		{"in vain, where a key worked before", order{limit: 4, vain: 1, worked: "f"}, "f b"},
		{"and another there", order{limit: 4, vain: 2, worked: "f"}, "f"},
		{"in vain, and keys are named", order{limit: 4, vain: 1, chosen: chosen("e", "sk", "b")}, "b e sk"},
		{"and another, named", order{limit: 4, vain: 2, chosen: chosen("e", "sk")}, "e sk"},
		{"in vain, named as only ssh can tell", order{limit: 4, vain: 2, chosen: unclear}, ""},
		{"in vain, of all", order{vain: 2}, "here d a b c e f sk sk2"},
		{"in vain, of one", order{limit: 1, vain: 1}, "d"},
		{"a key that worked", order{limit: 4, worked: "f"}, "f here d a"},
		{"a passkey that worked", order{limit: 4, worked: "sk"}, "sk here d a"},
		{"a key that worked and is for others now", order{limit: 4, worked: "there"}, "here d a b"},
		{"keys the user names", order{limit: 4, chosen: chosen("e", "sk", "b", "a", "c")}, "a b c e sk"},
		{"named as only ssh can tell", order{limit: 4, chosen: unclear}, "here d a b c e f sk sk2"},
		{"no limit", order{}, "here d a b c e f sk sk2"},
		{"one", order{limit: 1, worked: "b"}, "b"},
	} {
		test.order.host = "host"
		var got []string
		for _, id := range test.order.apply(keys) {
			got = append(got, id.Comment)
		}
		if want := strings.Fields(test.want); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", test.name, got, want)
		}
	}
	few := keys[:3]
	for vain, want := range []string{"a b c", "b c", ""} {
		var got []string
		for _, id := range (order{host: "host", limit: 4, vain: vain}).apply(few) {
			got = append(got, id.Comment)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("of three, %d in vain: %q, want %q", vain, got, want)
		}
	}
	if got := (order{limit: 4}).apply(nil); len(got) != 0 {
		t.Errorf("no keys: %v", got)
	}
}

// to is a connection that is bound to a login at the server.
func to(t *testing.T, server ssh.Signer) sshagent.Connection {
	t.Helper()
	return sshagent.Connection{
		Peer:     sshagent.Peer{PID: os.Getppid(), UID: os.Getuid()}, // it runs, is not own, and its configuration of ssh can be read
		Bindings: []sshctx.Binding{{HostKey: server.PublicKey().Marshal(), SessionID: make([]byte, 32)}},
	}
}

func commentsOf(l *sshagent.Listing) string {
	var list []string
	for _, id := range l.Identities() {
		list = append(list, id.Comment)
	}
	return strings.Join(list, " ")
}

// login is a login on the connection, by the key.
func (w *world) login(c sshagent.Connection, key ssh.Signer) error {
	blob := key.PublicKey().Marshal()
	c.Listed = w.Listing(c)
	data := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: c.Bindings[0].SessionID, User: "root", Service: "ssh-connection",
		Algorithm: key.PublicKey().Type(), PublicKey: blob, HostKey: c.Bindings[0].HostKey,
	}
	_, err := w.Sign(w.t.Context(), sshagent.SignRequest{Connection: c, Blob: blob, Data: data.Marshal()})
	return err
}

// A server that did not take the certificate is offered the key first, for a
// day; one that takes the certificate at last, the certificate.
func TestCertificateStandsBehindWhereItWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		key, server, other := newSigner(t), newSigner(t), newSigner(t)
		p := w.addPhone(1, "phone")
		p.signing(key, approves)
		p.keys = append([]wire.RemoteSignerPublicKey{remoteKey(newSigner(t), "first")}, p.keys...)
		w.connect(p)
		w.keepLife()
		synctest.Wait()
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{ValiditySeconds: 7 * 24 * 3600}); err != nil {
			t.Fatal(err)
		}
		wants := func(s ssh.Signer, want string) {
			t.Helper()
			if got := commentsOf(w.Listing(to(t, s))); got != want {
				t.Errorf("listed %q, want %q", got, want)
			}
		}
		wants(server, "vmux-session-cert first mine")
		if err := w.login(to(t, server), key); err != nil {
			t.Fatal(err)
		}
		wants(server, "mine vmux-session-cert first")
		wants(other, "vmux-session-cert first mine")
		synctest.Wait()
		if doc, _ := w.docs.Get(documentDestinations); !strings.Contains(string(doc), sshctx.Fingerprint(server.PublicKey().Marshal())) ||
			strings.Contains(string(doc), sshctx.Fingerprint(other.PublicKey().Marshal())) {
			t.Errorf("kept: %s", doc)
		}
		time.Sleep(refusalLife)
		wants(server, "vmux-session-cert mine first")

		if err := w.login(to(t, server), key); err != nil {
			t.Fatal(err)
		}
		wants(server, "mine vmux-session-cert first")
		session := w.snapshot.Load().session
		c := to(t, server)
		data := sshctx.Context{
			Kind: sshctx.HostBound, SessionID: c.Bindings[0].SessionID, User: "root", Service: "ssh-connection",
			Algorithm: session.Certificate.Type(), PublicKey: session.Blob, HostKey: c.Bindings[0].HostKey,
		}.Marshal()
		if _, ok, err := w.SignLocal(c, session.Blob, data, 0); !ok || err != nil {
			t.Fatalf("the certificate: %v, %v", ok, err)
		}
		wants(server, "vmux-session-cert mine first")
		w.stop()
	})
}

// The certificate signs for the login that the connection is bound to, and for
// no connection that comes from elsewhere.
func TestCertificateOnBoundConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		p.keys = []wire.RemoteSignerPublicKey{remoteKey(newSigner(t), "mine")}
		w.connect(p)
		w.keepLife()
		synctest.Wait()
		session, server := w.snapshot.Load().session, newSigner(t)
		mine, bastion := to(t, server), to(t, server)
		bastion.Bindings = append([]sshctx.Binding{{HostKey: newSigner(t).PublicKey().Marshal(), SessionID: []byte("fwd"), Forwarding: true}}, mine.Bindings...)
		behind := sshagent.Connection{Peer: own.Peer, Bindings: mine.Bindings}
		onlyHop := sshagent.Connection{Bindings: bastion.Bindings[:1]}
		data := func(id []byte) []byte {
			return sshctx.Context{
				Kind: sshctx.HostBound, SessionID: id, User: "root", Service: "ssh-connection",
				Algorithm: session.Certificate.Type(), PublicKey: session.Blob, HostKey: server.PublicKey().Marshal(),
			}.Marshal()
		}
		for _, test := range []struct {
			name    string
			c       sshagent.Connection
			session []byte
			listed  string
			signs   bool
			forward bool
		}{
			{"not bound", own, make([]byte, 32), "mine vmux-session-cert", true, false},
			{"not bound, of the same session", own, make([]byte, 32), "mine vmux-session-cert", true, false},
			{"not bound, of another session", own, make([]byte, 20), "mine vmux-session-cert", false, false},
			{"not bound, of another session, and forwarding is allowed", own, make([]byte, 20), "mine vmux-session-cert", true, true},
			{"not bound, by nobody knows whom", sshagent.Connection{}, make([]byte, 32), "mine vmux-session-cert", false, false},
			{"bound, by a program that did not bind before", behind, make([]byte, 32), "mine", false, false},
			{"bound", mine, make([]byte, 32), "vmux-session-cert mine", true, false},
			{"bound to another session", mine, make([]byte, 20), "vmux-session-cert mine", false, false},
			{"forwarded", bastion, make([]byte, 32), "mine", false, false},
			{"forwarded, by a client that does not bind", onlyHop, make([]byte, 32), "mine", false, false},
			{"from who knows where", sshagent.Connection{Unproven: true}, make([]byte, 32), "mine", false, false},
			{"forwarded and allowed", bastion, make([]byte, 32), "vmux-session-cert mine", true, true},
		} {
			w.use.Forward = test.forward
			if got := commentsOf(w.Listing(test.c)); got != test.listed {
				t.Errorf("%s: listed %q, want %q", test.name, got, test.listed)
			}
			signature, ok, err := w.SignLocal(test.c, session.Blob, data(test.session), 0)
			if !ok || (err == nil) != test.signs || (len(signature) > 0) != test.signs {
				t.Errorf("%s: signed %d bytes, %v, %v", test.name, len(signature), ok, err)
			}
		}
		w.stop()
	})
}

// Most clients bind nothing, and the answer to them is ready.
func TestListingOfAnUnboundConnectionAllocatesNothing(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		if n := testing.AllocsPerRun(100, func() { w.Listing(sshagent.Connection{}) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// What a connection from another host binds to teaches nothing.
func TestForwardedLoginsTeachNothing(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		c := to(t, newSigner(t))
		c.Bindings = append([]sshctx.Binding{{HostKey: c.Bindings[0].HostKey, SessionID: []byte("fwd"), Forwarding: true}}, c.Bindings...)
		r := request(key, "session")
		r.Connection = c
		if _, err := w.Sign(t.Context(), r); wire.CodeOf(err) != wire.CodePolicyDenied {
			t.Errorf("another session: %v", err)
		}
		r.Data = sshctx.Context{
			Kind: sshctx.HostBound, SessionID: c.Bindings[1].SessionID, User: "root", Service: "ssh-connection",
			Algorithm: key.PublicKey().Type(), PublicKey: r.Blob, HostKey: c.Bindings[1].HostKey,
		}.Marshal()
		if _, err := w.Sign(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if len(w.known.byHost) != 0 {
			t.Errorf("learned %+v", w.known.byHost)
		}
	})
}

func TestDestinationsAreBounded(t *testing.T) {
	d := destinations{byHost: map[string]destination{}}
	now := time.Now()
	host := func(i int) string { return sshctx.Fingerprint([]byte(fmt.Sprint(i))) }
	for i := range maxDestinations + 10 {
		d.learn(host(i), now.Add(time.Duration(i)), func(known *destination) { known.Key = host(0) })
	}
	if len(d.byHost) != maxDestinations || d.byHost[host(9)].Key != "" || d.byHost[host(10)].Key == "" {
		t.Errorf("%d destinations", len(d.byHost))
	}
	if d.learn(host(20), now, func(known *destination) { known.Key = host(0) }) {
		t.Error("what is known already is written")
	}
	b, err := d.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseDestinations(b)
	if err != nil || len(again) != maxDestinations || again[host(20)].Key != host(0) {
		t.Errorf("%d after writing, %v", len(again), err)
	}
}

func TestDamagedDestinationsAreSetAside(t *testing.T) {
	for name, damaged := range map[string]string{
		"cut": `{"version":1,"dest`, "not JSON": "\x00\x01", "other version": `{"version":2}`,
		"no fingerprint":       `{"version":1,"destinations":[{"host":"prod"}]}`,
		"no key":               `{"version":1,"destinations":[{"host":"` + sshctx.Fingerprint(nil) + `","key":"x"}]}`,
		"too many of the same": `{"version":1,"destinations":[` + strings.Repeat(`{},`, maxDestinations) + `{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := state.OpenDir(filepath.Join(t.TempDir(), "agent"))
			if err == nil {
				err = docs.Put(documentDestinations, []byte(damaged))
			}
			if err != nil {
				t.Fatal(err)
			}
			w := newWorldIn(t, docs, device.NewTrust(&device.MemoryStore{}))
			if warnings := w.Status().Warnings; len(warnings) != 1 || !strings.Contains(warnings[0], "set aside") {
				t.Errorf("warnings: %q", warnings)
			}
			aside, err := docs.List(documentDestinations + ".damaged-")
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %q, %v", aside, err)
			}
		})
	}
}
