package signer

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// server is an SSH server with a host key, in as far as its clients tell of it.
type server struct {
	key ssh.Signer
}

func newServer(t testing.TB) server { return newServerOf(t, "ssh-ed25519") }

func newServerOf(t testing.TB, algorithm string) server {
	t.Helper()
	key, err := identity.Generate(algorithm, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return server{s}
}

func (s server) blob() []byte        { return s.key.PublicKey().Marshal() }
func (s server) fingerprint() string { return sshctx.Fingerprint(s.blob()) }

// bind is what its client tells the agent of a session.
func (s server) bind(t testing.TB, session []byte, forwarding bool) []byte {
	t.Helper()
	signature, err := s.key.Sign(rand.Reader, session)
	if err != nil {
		t.Fatal(err)
	}
	return sshctx.Binding{
		HostKey: s.blob(), SessionID: session, Signature: ssh.Marshal(signature), Forwarding: forwarding,
	}.Marshal()
}

func sessionID(n byte) []byte { return []byte(strings.Repeat(string(rune('a'+n)), 32)) }

// login is what a client asks to have signed; with a server it is host-bound.
func login(id identity.Identity, session []byte, user string, to *server) []byte {
	c := sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: session, User: user, Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey,
	}
	if to != nil {
		c.Kind, c.HostKey = sshctx.HostBound, to.blob()
	}
	return c.Marshal()
}

// askLogin asks for a signature and returns the phone's answer.
func (p *phone) askLogin(id identity.Identity, data []byte, hostName string, bindings ...[]byte) error {
	p.t.Helper()
	r := p.request(id)
	r.DataToSign, r.Bindings, r.Context.HostName = data, bindings, hostName
	answer := p.ask(context.Background(), r)
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

func TestDestination(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, bastion, other := newServer(t), newServer(t), newServer(t)
	plain := login(id, sessionID(0), "root", nil)
	bound := login(id, sessionID(0), "root", &prod)
	sshsig := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal()
	self, hop := prod.bind(t, sessionID(0), false), bastion.bind(t, sessionID(1), true)
	forged := prod.bind(t, sessionID(0), false)
	forged[len(forged)-3] ^= 1
	for _, test := range []struct {
		name     string
		data     []byte
		bindings [][]byte
		quality  wire.ContextQuality
		host     string
		via      int
		refused  bool
	}{
		{name: "plain, nothing bound", data: plain, quality: wire.QualityUnknown},
		{name: "plain, bound", data: plain, bindings: [][]byte{self}, quality: wire.QualityVerified, host: prod.fingerprint()},
		{name: "host-bound, binding stripped", data: bound, quality: wire.QualityVerified, host: prod.fingerprint()},
		{name: "host-bound, bound", data: bound, bindings: [][]byte{self}, quality: wire.QualityVerified, host: prod.fingerprint()},
		{name: "through a bastion", data: bound, bindings: [][]byte{hop, self}, quality: wire.QualityVerified, host: prod.fingerprint(), via: 1},
		{name: "through a bastion whose ssh does not bind", data: plain, bindings: [][]byte{hop}, quality: wire.QualityUnknown, via: 1},
		{name: "plain, through a bastion that vouches for the session", data: plain, bindings: [][]byte{hop, bastion.bind(t, sessionID(0), false)}, quality: wire.QualityUnknown, via: 1},
		{name: "plain, through a bastion, with the right binding", data: plain, bindings: [][]byte{hop, self}, quality: wire.QualityUnknown, via: 1},
		{name: "git, through a bastion", data: sshsig, bindings: [][]byte{hop}, quality: wire.QualityVerified, via: 1},
		{name: "another session", data: plain, bindings: [][]byte{prod.bind(t, sessionID(2), false)}, refused: true},
		{name: "another server than the bytes say", data: bound, bindings: [][]byte{other.bind(t, sessionID(0), false)}, refused: true},
		{name: "a session that is forwarded to", data: plain, bindings: [][]byte{bastion.bind(t, sessionID(0), true)}, refused: true},
		{name: "not signed by the host", data: bound, bindings: [][]byte{forged}, refused: true},
		{name: "a hop behind the login", data: bound, bindings: [][]byte{self, hop}, refused: true},
		{name: "no binding", data: bound, bindings: [][]byte{[]byte("x")}, refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := p.asked
			err := p.askLogin(id, test.data, "", test.bindings...)
			if test.refused {
				if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || p.asked != asked {
					t.Errorf("got %v, and the person was asked %d times", err, p.asked-asked)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d := p.sheet.Destination
			if p.sheet.Quality != test.quality || d.Fingerprint() != test.host || len(d.Via) != test.via {
				t.Errorf("got %s, host %q, via %d", p.sheet.Quality, d.Fingerprint(), len(d.Via))
			}
		})
	}
}

// A host key of a type that this phone cannot read proves nothing: neither bytes
// that name it nor bindings, which nobody can check. It is shown as that, is never
// remembered or granted, and is none of the servers that a key is limited to; what
// comes through it comes through another server.
func TestHostKeysThatCannotBeRead(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, bastion := newServer(t), newServer(t)
	odd := ssh.Marshal(struct {
		Type string
		Key  []byte
	}{"ssh-mldsa44-ed25519", make([]byte, 1344)})
	binds := func(n byte, forwarding bool) []byte {
		return sshctx.Binding{HostKey: odd, SessionID: sessionID(n), Signature: make([]byte, 2500), Forwarding: forwarding}.Marshal()
	}
	plain, toProd := login(id, sessionID(0), "root", nil), login(id, sessionID(0), "root", &prod)
	c, err := sshctx.Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	c.Kind, c.HostKey = sshctx.HostBound, odd
	toOdd := c.Marshal()
	const unproven = "not proven: this phone cannot check its host key (ssh-mldsa44-ed25519)"
	const unknown = "not known: nothing in what is signed names it"
	for _, test := range []struct {
		name     string
		data     []byte
		bindings [][]byte
		server   string
		via      string
		refused  bool
	}{
		{name: "plain, bound", data: plain, bindings: [][]byte{binds(0, false)}, server: unproven},
		{name: "host-bound", data: toOdd, server: unproven},
		{name: "host-bound, bound", data: toOdd, bindings: [][]byte{binds(0, false)}, server: unproven},
		{name: "through a bastion, host-bound", data: toOdd, bindings: [][]byte{bastion.bind(t, sessionID(1), true), binds(0, false)}, server: unproven, via: bastion.fingerprint()},
		{name: "through a bastion, plain", data: plain, bindings: [][]byte{bastion.bind(t, sessionID(1), true), binds(0, false)}, server: unknown, via: bastion.fingerprint()},
		{name: "through it", data: toProd, bindings: [][]byte{binds(1, true)}, server: prod.fingerprint(), via: sshctx.Fingerprint(odd) + " (not proven)"},
		{name: "through it, which vouches for a session", data: plain, bindings: [][]byte{binds(1, true), prod.bind(t, sessionID(0), false)}, server: unknown, via: sshctx.Fingerprint(odd) + " (not proven)"},
		{name: "another session", data: plain, bindings: [][]byte{binds(2, false)}, refused: true},
		{name: "another server than the bytes say", data: toProd, bindings: [][]byte{binds(0, false)}, refused: true},
		{name: "a session that is forwarded to", data: plain, bindings: [][]byte{binds(0, true)}, refused: true},
		{name: "a hop behind the login", data: toOdd, bindings: [][]byte{binds(0, false), binds(1, true)}, refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := p.asked
			err := p.askLogin(id, test.data, "odd.example", test.bindings...)
			if test.refused {
				if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || p.asked != asked {
					t.Errorf("got %v, and the person was asked %d times", err, p.asked-asked)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			says := map[string]activity.Line{}
			for _, l := range p.sheet.Lines() {
				says[l.Name] = l
			}
			proven := test.server == prod.fingerprint()
			if says["server"].Value.String() != test.server || (p.sheet.Quality == wire.QualityVerified) != proven || (p.sheet.Destination.HostKey != nil) != proven {
				t.Errorf("got %s, %+v", p.sheet.Quality, says)
			}
			if shown := says["host key"]; (test.server == unproven) != (shown.Value.String() == sshctx.Fingerprint(odd)) || shown.Value.String() != "" && shown.Quality != wire.QualityClaimed {
				t.Errorf("host key: %+v", shown)
			}
			if says["through"].Value.String() != test.via || p.sheet.Destination.Forwarded() != (test.via != "") {
				t.Errorf("through %q, want %q", says["through"].Value, test.via)
			}
			if p.sheet.grantable = true; p.sheet.Grantable() {
				t.Error("it can be granted")
			}
		})
	}
	known, err := p.Hosts.All()
	if err != nil || len(known) != 1 || known[0].Fingerprint() != prod.fingerprint() {
		t.Errorf("remembered: %v, %v", known, err)
	}
	if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Hosts = []string{sshctx.Fingerprint(odd), "odd.example"} }); err != nil {
		t.Fatal(err)
	}
	if err := p.askLogin(id, toOdd, "odd.example"); !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || !strings.Contains(err.Error(), "cannot check its host key (ssh-mldsa44-ed25519)") {
		t.Errorf("limited to it: %v", err)
	}
	if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { *r = policy.Rules{Forbid: []string{policy.UseForwarded}} }); err != nil {
		t.Fatal(err)
	}
	if err := p.askLogin(id, toProd, "", binds(1, true)); !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) {
		t.Errorf("through it, which is forbidden: %v", err)
	}
}

// What is refused stands in the log by what its bytes say.
func TestRefusedIsDescribed(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, other := newServer(t), newServer(t)
	err := p.askLogin(id, login(id, sessionID(0), "root", &prod), "", other.bind(t, sessionID(0), false))
	if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) {
		t.Fatal(err)
	}
	records := p.requests()
	if len(records) != 1 || records[0].What.String() != "root@"+prod.fingerprint() || records[0].Decision != "refused" {
		t.Errorf("got %+v", records)
	}
}

// A host certificate is renewed every day. The server is the same one.
func TestRenewedHostCertificateIsTheSameServer(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, ca := newServer(t), newServer(t)
	for serial, want := range []hosts.Memory{hosts.First, hosts.Known} {
		cert := &ssh.Certificate{Key: prod.key.PublicKey(), CertType: ssh.HostCert, Serial: uint64(serial), ValidPrincipals: []string{"prod.example"}}
		if err := cert.SignCert(rand.Reader, ca.key); err != nil {
			t.Fatal(err)
		}
		data := sshctx.Context{
			Kind: sshctx.HostBound, SessionID: sessionID(0), User: "root", Service: "ssh-connection",
			Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: cert.Marshal(),
		}.Marshal()
		if err := p.askLogin(id, data, "prod.example"); err != nil {
			t.Fatal(err)
		}
		if d := p.sheet.Destination; d.Memory != want || d.Fingerprint() != prod.fingerprint() {
			t.Errorf("certificate %d: %q, %s, want %q, %s", serial, d.Memory, d.Fingerprint(), want, prod.fingerprint())
		}
	}
}

// The computer of an attacker says the name of a server that the person knows,
// and logs in to another one.
func TestHostMemory(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, evil := newServer(t), newServer(t)
	see := func(to server, user, name string, want hosts.Memory, newUser bool) {
		t.Helper()
		if err := p.askLogin(id, login(id, sessionID(0), user, &to), name); err != nil {
			t.Fatal(err)
		}
		d := p.sheet.Destination
		if d.Memory != want || d.NewUser != newUser || p.sheet.MustAcknowledge() != (want == hosts.Changed) {
			t.Errorf("%s as %s: got %q, new user %v", name, user, d.Memory, d.NewUser)
		}
	}
	see(prod, "root", "prod.example", hosts.First, true)
	see(prod, "root", "prod.example", hosts.Known, false)
	see(prod, "deploy", "prod.example", hosts.Known, true)
	see(prod, "deploy", "", hosts.Known, false)
	p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) { p.sheet = s; return SignDecision{}, nil }
	if err := p.askLogin(id, login(id, sessionID(0), "root", &evil), "prod.example"); !errors.Is(err, wire.NewError(wire.CodeUserDenied)) {
		t.Fatal(err)
	}
	d := p.sheet.Destination
	if d.Memory != hosts.Changed || len(d.Before) != 1 || d.Before[0].String() != prod.fingerprint() {
		t.Errorf("got %q, before %v", d.Memory, d.Before)
	}
	known, err := p.Hosts.All()
	if err != nil || len(known) != 1 {
		t.Errorf("a denied login is remembered: %v, %v", known, err)
	}
	if err := p.Hosts.Forget(prod.fingerprint()); err != nil {
		t.Fatal(err)
	}
	if known, err = p.Hosts.All(); err != nil || len(known) != 0 {
		t.Errorf("not forgotten: %v, %v", known, err)
	}
}

// After a change that the person has accepted, both keys are known by the name: it
// may be that of a pool of servers. A further one has to be acknowledged again.
func TestHostChangeAccepted(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	before, after, third := newServer(t), newServer(t), newServer(t)
	for i, step := range []struct {
		to     server
		want   hosts.Memory
		before int
	}{{before, hosts.First, 0}, {after, hosts.Changed, 1}, {after, hosts.Known, 0}, {before, hosts.Known, 0}, {third, hosts.Changed, 2}, {after, hosts.Known, 0}, {third, hosts.Known, 0}} {
		if err := p.askLogin(id, login(id, sessionID(0), "root", &step.to), "prod.example"); err != nil {
			t.Fatal(err)
		}
		if got := p.sheet.Destination; got.Memory != step.want || len(got.Before) != step.before || p.sheet.MustAcknowledge() != (step.want == hosts.Changed) {
			t.Errorf("step %d: got %q, before %v, want %q", i, got.Memory, got.Before, step.want)
		}
	}
}

// What was denied teaches nothing: the next login to the other key is a change too.
func TestHostChangeDenied(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	before, evil := newServer(t), newServer(t)
	if err := p.askLogin(id, login(id, sessionID(0), "root", &before), "prod.example"); err != nil {
		t.Fatal(err)
	}
	p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) { p.sheet = s; return SignDecision{}, nil }
	for range 2 {
		err := p.askLogin(id, login(id, sessionID(0), "root", &evil), "prod.example")
		if !errors.Is(err, wire.NewError(wire.CodeUserDenied)) || p.sheet.Destination.Memory != hosts.Changed {
			t.Errorf("got %v, %q", err, p.sheet.Destination.Memory)
		}
	}
}

// A server has a host key of each type, and which of them a login sees depends on
// what the client wants. That the name has one of another type is said, and is no
// change. Each type has a change of its own.
func TestHostKeysOfSeveralTypes(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	types := []string{"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"}
	var known []server
	for i, algorithm := range types {
		s := newServerOf(t, algorithm)
		if err := p.askLogin(id, login(id, sessionID(0), "root", &s), "prod.example"); err != nil {
			t.Fatal(err)
		}
		others := slices.Sorted(slices.Values(types[:i]))
		seen := "never before by this phone"
		if i > 0 {
			seen += ", which knows prod.example by a host key of another type: " + strings.Join(others, ", ")
		}
		if d := p.sheet.Destination; d.Memory != hosts.First || p.sheet.MustAcknowledge() || wire.JoinTexts(d.OtherTypes, ", ").String() != strings.Join(others, ", ") {
			t.Errorf("%s: got %q, other types %v", algorithm, d.Memory, d.OtherTypes)
		}
		if !slices.ContainsFunc(p.sheet.Lines(), func(l activity.Line) bool { return l.Name == "seen" && l.Value.String() == seen }) {
			t.Errorf("%s: %v, want %q", algorithm, p.sheet.Lines(), seen)
		}
		known = append(known, s)
	}
	for i, s := range known {
		if err := p.askLogin(id, login(id, sessionID(0), "root", &s), "prod.example"); err != nil {
			t.Fatal(err)
		}
		if d := p.sheet.Destination; d.Memory != hosts.Known || len(d.OtherTypes) > 0 {
			t.Errorf("%s again: got %q, other types %v", types[i], d.Memory, d.OtherTypes)
		}
	}
	evil := newServerOf(t, "ssh-rsa")
	if err := p.askLogin(id, login(id, sessionID(0), "root", &evil), "prod.example"); err != nil {
		t.Fatal(err)
	}
	if d := p.sheet.Destination; d.Memory != hosts.Changed || !slices.Equal(d.Before, []wire.Text{wire.Clean(known[1].fingerprint())}) {
		t.Errorf("another RSA key: got %q, before %v", d.Memory, d.Before)
	}
}

// attacker: a computer that has the host key of a server to which logins were
// approved. It presents a plain login to another server as one to that server, which
// with bytes that name the server cannot be done.
func TestDowngradedLogin(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, old := newServer(t), newServer(t)
	bound := func(s server) (plain []byte, binding []byte) {
		return login(id, sessionID(0), "root", nil), s.bind(t, sessionID(0), false)
	}
	sees := func(s server, downgraded bool) {
		t.Helper()
		data, binding := bound(s)
		if err := p.askLogin(id, data, "", binding); err != nil {
			t.Fatal(err)
		}
		warned := slices.ContainsFunc(p.sheet.Lines(), func(l activity.Line) bool {
			return l.Warning && l.Value.String() == "earlier logins to this server named it in what is signed; this one does not, and could be to another server"
		})
		if d := p.sheet.Destination; d.Downgraded != downgraded || warned != downgraded || p.sheet.MustAcknowledge() != downgraded {
			t.Errorf("got %+v, %q", p.sheet.Lines(), p.sheet.Acknowledgement())
		}
	}
	sees(old, false) // a server older than OpenSSH 8.9: never any better
	sees(old, false)
	sees(prod, false)
	if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil || p.sheet.MustAcknowledge() {
		t.Fatal(err, p.sheet.Lines())
	}
	for range 2 { // it is acknowledged each time, and does not become the usual
		sees(prod, true)
	}
	sees(old, false)
	if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil || p.sheet.MustAcknowledge() {
		t.Error(err, p.sheet.Lines())
	}
	if err := p.Hosts.Forget(prod.fingerprint()); err != nil {
		t.Fatal(err)
	}
	sees(prod, false)

	// A name that had another key, too: both are said, and both acknowledged.
	if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), "prod.example"); err != nil {
		t.Fatal(err)
	}
	third := newServer(t)
	if err := p.askLogin(id, login(id, sessionID(0), "root", &third), "third.example"); err != nil {
		t.Fatal(err)
	}
	data, binding := bound(third)
	if err := p.askLogin(id, data, "prod.example", binding); err != nil {
		t.Fatal(err)
	}
	if got, want := p.sheet.Acknowledgement(), "I know why the host key is another one. I know why this login does not name the server."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	set := func(r policy.Rules) {
		t.Helper()
		if _, err := p.Identities.SetRules(id, func(old *policy.Rules) { *old = r }); err != nil {
			t.Fatal(err)
		}
	}
	data, binding = bound(old)
	set(policy.Rules{Hosts: []string{old.fingerprint()}})
	if err := p.askLogin(id, data, "", binding); !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) {
		t.Errorf("limited to its fingerprint: %v", err)
	}
	set(policy.Rules{Hosts: []string{old.fingerprint()}, OldServers: true})
	sees(old, false)
	set(policy.Rules{Hosts: []string{prod.fingerprint()}, OldServers: true})
	sees(prod, true)
	if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { *r = policy.Rules{OldServers: true} }); err == nil {
		t.Error("old servers of no limit")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
