package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/listing"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/state"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

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
	c.Listed = w.Listing(w.t.Context(), c)
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
			if got := commentsOf(w.Listing(w.t.Context(), to(t, s))); got != want {
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
		if doc, _ := w.docs.Get(listing.Document); !strings.Contains(string(doc), sshctx.Fingerprint(server.PublicKey().Marshal())) ||
			strings.Contains(string(doc), sshctx.Fingerprint(other.PublicKey().Marshal())) {
			t.Errorf("kept: %s", doc)
		}
		time.Sleep(24 * time.Hour)
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
			if got := commentsOf(w.Listing(w.t.Context(), test.c)); got != test.listed {
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
		if n := testing.AllocsPerRun(100, func() { w.Listing(w.t.Context(), sshagent.Connection{}) }); n != 0 {
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
		synctest.Wait()
		if b, _ := w.docs.Get(listing.Document); b != nil {
			t.Errorf("learned %s", b)
		}
	})
}

func TestDamagedDestinationsAreSetAside(t *testing.T) {
	for name, damaged := range map[string]string{
		"cut": `{"version":1,"dest`, "not JSON": "\x00\x01", "other version": `{"version":2}`,
		"no fingerprint":       `{"version":1,"destinations":[{"host":"prod"}]}`,
		"no key":               `{"version":1,"destinations":[{"host":"` + sshctx.Fingerprint(nil) + `","key":"x"}]}`,
		"too many of the same": `{"version":1,"destinations":[` + strings.Repeat(`{},`, 1024) + `{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := state.OpenDir(filepath.Join(t.TempDir(), "agent"))
			if err == nil {
				err = docs.Put(listing.Document, []byte(damaged))
			}
			if err != nil {
				t.Fatal(err)
			}
			w := newWorldIn(t, docs, device.NewTrust(&testkit.Document{}))
			if warnings := w.Status().Warnings; len(warnings) != 1 || !strings.Contains(warnings[0], "set aside") {
				t.Errorf("warnings: %q", warnings)
			}
			aside, err := docs.List(listing.Document + ".damaged-")
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %q, %v", aside, err)
			}
		})
	}
}
