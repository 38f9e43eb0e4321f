package agent

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/listing"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// connects is a connection of its own to the server, on which identities are listed.
func (w *world) connects(id uint64, c sshagent.Connection) sshagent.Connection {
	w.t.Helper()
	c.ID = id
	c.Listed = w.Listing(w.t.Context(), c)
	return c
}

// unsigned is a login at the server for which nothing is signed. It returns what was
// listed.
func (w *world) unsigned(c sshagent.Connection) string {
	w.t.Helper()
	c = w.connects(99, c)
	w.memory.Closed(c)
	return commentsOf(c.Listed)
}

// through is the connection by way of another host.
func through(c sshagent.Connection) sshagent.Connection {
	hop := sshctx.Binding{HostKey: []byte("bastion"), SessionID: []byte("fwd"), Forwarding: true}
	c.Bindings = append([]sshctx.Binding{hop}, c.Bindings...)
	return c
}

// What ssh was told of for a login, when no key was asked for in the end.
func TestUnsignedLogin(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		server, other := to(t, newSigner(t)), to(t, newSigner(t))
		fingerprint := func(c sshagent.Connection) string { return sshctx.Fingerprint(c.Bindings[0].HostKey) }
		p.signing(key, approves)
		limited := remoteKey(newSigner(t), "for another")
		limited.Hosts = []string{fingerprint(other)}
		p.keys = append(p.keys, limited, remoteKey(newSigner(t), "second"))
		w.memory.MaxKeys = 1
		w.connect(p)
		synctest.Wait()
		if u := w.Status().Unsigned; u != nil {
			t.Errorf("before any login: %+v", u)
		}
		first := w.connects(1, server)
		want := control.UnsignedLogin{At: time.Now().Round(0), Server: fingerprint(server), Listed: 1, Elsewhere: []string{"for another"}, Left: 1}
		if u := w.Status().Unsigned; u == nil || !reflect.DeepEqual(*u, want) {
			t.Errorf("under way: %+v, want %+v", u, want)
		}
		time.Sleep(time.Second)
		w.connects(1, first) // the same login asks once more
		w.memory.Closed(first)
		want.At = time.Now().Round(0)
		if u := w.Status().Unsigned; u == nil || !reflect.DeepEqual(*u, want) {
			t.Errorf("%+v, want %+v", u, want)
		}
		w.unsigned(through(to(t, newSigner(t)))) // it chooses what to bind to, and what the user would read
		if u := w.Status().Unsigned; u == nil || u.Server != want.Server {
			t.Errorf("after a login by way of another host: %+v", u)
		}
		time.Sleep(time.Second)
		w.unsigned(other)
		if u := w.Status().Unsigned; u == nil || u.Server != fingerprint(other) || len(u.Elsewhere) != 0 {
			t.Errorf("the newest is %+v", u)
		}
		if err := w.login(other, key); err != nil {
			t.Fatal(err)
		}
		if u := w.Status().Unsigned; u == nil || u.Server != want.Server {
			t.Errorf("after a login that worked: %+v", u)
		}
		time.Sleep(10 * time.Minute)
		if u := w.Status().Unsigned; u != nil {
			t.Errorf("after a while: %+v", u)
		}
	})
}

// A server that takes none of the keys is offered fewer each time, until only the
// certificate is left, for as long as it is so: also after a restart, and whatever
// other servers take. One that takes a key at last is offered all again.
func TestFewerKeysAfterLoginsWithoutSignature(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		server, other := to(t, newSigner(t)), to(t, newSigner(t))
		p.signing(key, approves)
		for i := range 6 {
			p.keys = append(p.keys, remoteKey(newSigner(t), fmt.Sprint("k", i)))
		}
		w.connect(p)
		synctest.Wait()
		for i, want := range []string{"mine k0 k1 k2", "k3 k4", "", ""} {
			if got := w.unsigned(server); got != want {
				t.Errorf("login %d: listed %q, want %q", i+1, got, want)
			}
			time.Sleep(time.Hour)
			if err := w.login(other, key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		w = &world{Agent: restarted(t, w), t: t, net: w.net, docs: w.docs, stop: w.stop}
		f := w.Status().FewerKeys
		if len(f) != 1 || f[0].Server != sshctx.Fingerprint(server.Bindings[0].HostKey) || f[0].Most != 0 || time.Since(f[0].At) != time.Hour {
			t.Errorf("the status says %+v", f)
		}
		if got := w.unsigned(server); got != "" {
			t.Errorf("after a restart: listed %q", got)
		}
		if got := w.unsigned(through(server)); got != "mine k0 k1 k2" {
			t.Errorf("by way of another host: listed %q", got)
		}

		// The user names the key there. It teaches nothing but that the server takes keys.
		if err := w.login(server, key); err != nil {
			t.Fatal(err)
		}
		if got := w.unsigned(server); got != "mine k0 k1 k2" || len(w.Status().FewerKeys) != 2 { // and the one by way of another host
			t.Errorf("after it took a key: listed %q", got)
		}
		w.connect(p) // the same keys as before
		synctest.Wait()
		if got := w.unsigned(server); got != "mine k3" {
			t.Errorf("a login without a signature where a key has worked: listed %q", got)
		}
		if got := w.unsigned(server); got != "mine" {
			t.Errorf("and another: listed %q", got)
		}

		for name, reset := range map[string]func(){
			"a new key": func() {
				p.keys = append(p.keys, remoteKey(newSigner(t), "new"))
				w.connect(p)
			},
			"vmux keys refresh": func() {
				if _, err := w.RefreshKeys(t.Context()); err != nil {
					t.Error(err)
				}
			},
		} {
			w.unsigned(server)
			w.unsigned(server)
			reset()
			synctest.Wait()
			if f := w.Status().FewerKeys; len(f) != 0 {
				t.Errorf("%s: %+v", name, f)
			}
			if got := w.unsigned(server); got != "mine k0 k1 k2" {
				t.Errorf("%s: listed %q", name, got)
			}
		}
	})
}

// Logins to one server that are under way at the same time do not count against each
// other, and neither does one that is denied: the server took the key.
func TestLoginsUnderWayDoNotCount(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		server := to(t, newSigner(t))
		p.signing(key, denies)
		w.connect(p)
		synctest.Wait()
		var open []sshagent.Connection
		for i := range uint64(5) {
			open = append(open, w.connects(i+1, server))
			if got := commentsOf(open[i].Listed); got != "mine" {
				t.Errorf("login %d: listed %q", i, got)
			}
		}
		for i, c := range open {
			r := request(key, "")
			r.Connection, r.Data = c, sshctx.Context{
				Kind: sshctx.HostBound, SessionID: c.Bindings[0].SessionID, User: "root", Service: "ssh-connection",
				Algorithm: key.PublicKey().Type(), PublicKey: r.Blob, HostKey: c.Bindings[0].HostKey,
			}.Marshal()
			if _, err := w.Sign(t.Context(), r); wire.CodeOf(err) != wire.CodeUserDenied {
				t.Errorf("login %d: %v", i, err)
			}
			w.memory.Closed(c)
		}
		if s := w.Status(); len(s.FewerKeys) != 0 || s.Unsigned != nil {
			t.Errorf("counted: %+v, %+v", s.FewerKeys, s.Unsigned)
		}
	})
}

// attacker: root on a bastion, who binds as the server that the user logs in to. What
// is offered from this computer stays.
func TestLoginsFromElsewhereAreNotOurs(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		server := to(t, newSigner(t))
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		for range 3 {
			w.unsigned(through(server))
		}
		if got := w.unsigned(through(server)); got != "" {
			t.Errorf("elsewhere: listed %q", got)
		}
		if f := w.Status().FewerKeys; len(f) != 1 || !f[0].Forwarded || f[0].Most != 0 || time.Since(f[0].At) != 0 {
			t.Errorf("the status says %+v", f)
		}
		if got := w.unsigned(server); got != "mine" {
			t.Errorf("here: listed %q", got)
		}
		for i := range 2 * 1024 {
			c := through(server)
			c.Bindings[1].HostKey = fmt.Append(nil, i)
			w.unsigned(c)
		}
		if f := w.Status().FewerKeys; len(f) < 2 || f[0].Forwarded || !f[1].Forwarded {
			t.Errorf("the status begins with %+v", f[:min(len(f), 2)])
		}
		if n := len(w.Status().FewerKeys); n > 1+1024 {
			t.Errorf("%d servers remembered", n)
		}
		synctest.Wait()
		if doc, _ := w.docs.Get(listing.Document); strings.Count(string(doc), `"host"`) != 1 {
			t.Errorf("written: %s", doc)
		}
	})
}
