package signer

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// A computer that calls a server by many other names, each of which is approved, makes
// this phone forget none that it knew the server by: else a login to another server by
// that name would be the first one, without a warning.
func TestManyNamesPushNoneOut(t *testing.T) {
	p := newPhone(t)
	id, prod, evil := p.create("work", "ssh-ed25519"), newServer(t), newServer(t)
	ask := func(to *server, name string) {
		t.Helper()
		if err := p.askLogin(id, login(id, sessionID(0), "root", to), name); err != nil {
			t.Fatal(err)
		}
	}
	ask(&prod, "prod.example")
	for i := range 64 + 8 {
		ask(&prod, fmt.Sprintf("other-%d.example", i))
	}
	if n := len(must(p.Hosts.All())[0].Names); n != 64 {
		t.Errorf("%d names are kept", n)
	}
	if ask(&evil, "prod.example"); p.sheet.Destination.Memory != hosts.Changed {
		t.Errorf("the name is %s: %+v", p.sheet.Destination.Memory, p.sheet.Lines())
	}
}

// A server of a pool that is typed otherwise is no lookalike of the others: this one has
// that very name, too.
func TestPoolTypedOtherwise(t *testing.T) {
	p := newPhone(t)
	id, one, two, evil := p.create("work", "ssh-ed25519"), newServer(t), newServer(t), newServer(t)
	for i, step := range []struct {
		to     *server
		name   string
		warned bool
	}{{&one, "prod", false}, {&two, "prod", true}, {&one, "PROD", false}, {&two, "prod.", false}, {&evil, "prod.", true}} {
		if err := p.askLogin(id, login(id, sessionID(0), "root", step.to), step.name); err != nil {
			t.Fatal(err)
		}
		if got := p.sheet.MustAcknowledge(); got != step.warned {
			t.Errorf("step %d: warned %v: %+v", i, got, p.sheet.Lines())
		}
	}
}

// A host key is remembered, and a computer chooses how long it is written.
func TestLongHostKeyIsNotRemembered(t *testing.T) {
	p := newPhone(t)
	id, prod := p.create("work", "ssh-ed25519"), newServerOf(t, "ssh-rsa")
	key := prod.key.PublicKey().(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
	padded := ssh.Marshal(struct {
		Type string
		E, N []byte
	}{"ssh-rsa", big.NewInt(int64(key.E)).Bytes(), append(make([]byte, 100<<10), key.N.Bytes()...)})
	if !sshctx.Readable(padded) {
		t.Fatal("not a key")
	}
	c := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: sessionID(0), User: strings.Repeat("u", 64<<10), Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: padded,
	}
	if err := p.askLogin(id, c.Marshal(), ""); err != nil {
		t.Fatal(err)
	}
	if d := p.sheet.Destination; d.HostKey != nil || d.Unproven == nil || len(must(p.Hosts.All())) != 0 {
		t.Errorf("%d bytes are remembered, %d not proven", len(d.HostKey), len(d.Unproven))
	}
	c.HostKey = prod.blob()
	if err := p.askLogin(id, c.Marshal(), ""); err != nil || p.sheet.Destination.HostKey == nil || p.sheet.Grantable() {
		t.Errorf("a user name of 64 KiB can be granted, or %v", err)
	}
}

// What an approval teaches the phone stands on the sheet, also where the request is one
// of several: a name that it does not know the server by yet.
func TestListedSaysTheNameThatWillBeKnown(t *testing.T) {
	p := newPhone(t)
	id, test := p.create("work", "ssh-ed25519"), newServer(t)
	listed := func(name string) (said string) {
		t.Helper()
		if err := p.askLogin(id, login(id, sessionID(0), "root", &test), name); err != nil {
			t.Fatal(err)
		}
		for _, l := range p.sheet.Listed() {
			if l.Name == "name" {
				said = l.Value.String()
			}
		}
		return p.sheet.Title().String() + " " + said
	}
	for _, c := range []struct{ name, want string }{
		{"test.example", "root@test.example (claimed) "}, {"test.example", "root@test.example "},
		{"prod.example", "root@test.example prod.example"}, {"prod.example", "root@prod.example "},
	} {
		if got := listed(c.name); got != c.want {
			t.Errorf("%q: %q, want %q", c.name, got, c.want)
		}
	}
}

// A name that looks like one that this phone knows is not simply a new one: a person
// would take it for the other. Once that is acknowledged, both are known.
func TestLookalikeIsNotNew(t *testing.T) {
	for name, lookalike := range map[string]string{
		"a digit": "prod-l.example.com", "Cyrillic": "prоd-1.example.com", "mathematical": "𝗉rod-1.example.com",
		"case": "PROD-1.example.com", "a filler": "prod-1\u3164.example.com", "blanks": "prod-1.example.com\u00a0\u2003",
		"a dot": "prod-1.example.com.", "other dots": "prod-1。example．com", "the port": "[prod-1.example.com]:022", "no port": "prod-1.example.com:",
		"a user": "x@prod-1.example.com", "wide": "ｐｒｏｄ-1.example.com", "capitals": "PROD-I.EXAMPLE.COM",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t)
			id, prod, evil := p.create("work", "ssh-ed25519"), newServer(t), newServerOf(t, "ecdsa-sha2-nistp256")
			hidden := name == "a filler" || name == "blanks"
			for i, c := range []struct {
				to     *server
				name   string
				warned bool
			}{{&prod, "prod-1.example.com", false}, {&evil, lookalike, true}, {&evil, lookalike, false}, {&prod, "prod-1.example.com", false}} {
				if err := p.askLogin(id, login(id, sessionID(byte(i)), "root", c.to), c.name); err != nil {
					t.Fatal(err)
				}
				if got := p.sheet.MustAcknowledge(); got != c.warned && !hidden {
					t.Errorf("login %d to %q: warned %v, want %v: %+v", i, c.name, got, c.warned, p.sheet.Lines())
				}
				if c.warned && !hidden {
					w := p.sheet.Lines()[0].Value.String()
					if !strings.Contains(w, " looks like prod-1.example.com, which has another host key: "+prod.fingerprint()) {
						t.Errorf("the warning is %q", w)
					}
				}
			}
			// What hides in a name is shown, and blanks around it are none.
			for _, h := range must(p.Hosts.All()) {
				for _, name := range h.Names {
					n := name.String()
					if !wire.Printable(n) || strings.TrimSpace(n) != n {
						t.Errorf("remembered as %q", n)
					}
				}
			}
		})
	}
}
