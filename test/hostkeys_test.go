package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
)

// logsInAs starts a login to a server by the name that the person types, with what
// ssh's configuration says beside.
func (w *world) logsInAs(o sshdtest.OpenSSH, name string, s *sshdtest.Server, options ...string) <-chan error {
	w.Helper()
	n := named{name: s}
	w.knows(n)
	cmd := w.runs(o, n.config(w, w.computer.socket()), append(options, name, "true")...)
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	return done
}

// Two servers behind one name: the second one has to be acknowledged, once. From
// then on a switch between the two is none.
func TestPoolIsAcknowledgedOnce(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.New(t)
	one, two := w.server(o), w.server(o)
	approved := 0
	logIn := func(s *sshdtest.Server, key string) {
		t.Helper()
		done := w.logsInAs(o, "pool.example", s)
		approved++
		person.waitCount("Approved.", approved, key)
		if err := w.wait(done); err != nil {
			t.Fatal(err)
		}
	}
	logIn(one, "y")
	logIn(two, "C")
	for _, s := range []*sshdtest.Server{one, two, one} {
		logIn(s, "y")
	}
	if n := person.count("had another host key"); n != 1 {
		t.Errorf("warned %d times of another host key, want once", n)
	}
	hosts := w.phone.run("phone", "hosts")
	for _, s := range []*sshdtest.Server{one, two} {
		if !strings.Contains(hosts, fingerprintOf(t, s.HostKey)+"  pool.example  as ") {
			t.Errorf("vmux phone hosts:\n%s", hosts)
		}
	}
	// A key that is limited to the pool's name is good for each that was acknowledged.
	w.phone.run("phone", "policy", "ssh-ed25519", "--hosts", "pool.example")
	logIn(one, "y")
	logIn(two, "y")
	if err := w.wait(w.logsInAs(o, "pool.example", w.server(o))); err == nil {
		t.Error("logged in to a server that is none of the pool's so far")
	}
	if _, sentence := w.lastFailure(); !strings.Contains(sentence, "another host key than those of pool.example") {
		t.Errorf("vmux status: %q", sentence)
	}
	w.phone.run("phone", "policy", "ssh-ed25519", "--clear")
	// One of the two is forgotten: it would have to be acknowledged anew.
	w.phone.run("phone", "hosts", "forget", fingerprintOf(t, two.HostKey))
	logIn(two, "C")
}

// One server with an Ed25519 and an RSA key. Which of them ssh takes depends on
// what it finds in known_hosts; that is no change.
func TestServerWithKeysOfTwoTypes(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w, person := askingWorld(t)
		rsa := filepath.Join(t.TempDir(), "rsa")
		o.Keygen(t, "-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", "", "-f", rsa)
		s := o.StartServer(t, sshdtest.Config{
			AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey},
			Extra:          []string{"HostKey " + rsa},
		})
		keys := []string{s.HostKey, strings.TrimSpace(read(t, rsa+".pub"))}
		for i, key := range []string{keys[0], keys[1], keys[0], keys[1]} {
			s.HostKey = key // the one that known_hosts has, so that ssh asks for its type
			done := w.logsInAs(o, "prod.example", s)
			person.waitCount("Approved.", i+1, "y")
			if err := w.wait(done); err != nil {
				t.Fatal(err)
			}
			r := w.since(i, 1)[0]
			w.expect(r, "verified", username(t)+"@"+map[bool]string{true: "prod.example (claimed)", false: "prod.example"}[i < 2],
				"server", fingerprintOf(t, key)+" (verified)", "warning", "", "seen", []string{
					"never before by this phone (verified)",
					"never before by this phone, which knows prod.example by a host key of another type: ssh-ed25519 (verified)",
					"before (verified)", "before (verified)",
				}[i])
		}
	})
}

// attacker: a server whose host key ssh can verify and vmux cannot (an exponent
// of 33 bits). That the agent is forwarded to it is said all the same, and the
// certificate signs nothing there.
func TestForwardingCannotBeHiddenByAnOddHostKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	dir, o := t.TempDir(), sshdtest.New(t)
	odd, own := filepath.Join(dir, "odd"), filepath.Join(dir, "own")
	must(t, exec.CommandContext(deadline(t), "openssl", "genpkey", "-algorithm", "RSA",
		"-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_pubexp:4294967297", "-out", odd))
	if err := os.Chmod(odd, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", own)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{read(t, own+".pub")}, Extra: []string{"HostKey " + odd}})
	server.HostKey = strings.TrimSpace(o.Keygen(t, "-y", "-f", odd))
	config := named{"odd": server}.config(t, w.computer.socket())
	text := "HostKeyAlgorithms rsa-sha2-512\nIdentitiesOnly yes\nIdentityFile " + own + "\n" + read(t, config)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.requestCertificate()
	cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.certificateLine(o)))
	if err != nil {
		t.Fatal(err)
	}
	socket := w.forwarded(o, config, "odd")
	if list := o.Add(t, socket, "-l"); strings.Contains(list, "vmux-session-cert") {
		t.Errorf("listed on the server:\n%s", list)
	}
	prod := newServerKey(t)
	i := newIntruder(t, socket, w.identity("ssh-ed25519").key(t))
	if err := i.sign(login(i.key, sessionID(1), "root", &prod)); err != nil {
		t.Fatal(err)
	}
	through := strings.Fields(o.Keygen(t, "-l", "-f", odd))[1] + " (not proven) (claimed)"
	w.expect(w.since(0, 1)[0], "verified", "root@"+prod.fingerprint(), "server", prod.fingerprint()+" (verified)", "through", through)
	i = newIntruder(t, socket, cert)
	if err := i.sign(login(i.key, sessionID(2), "root", &prod)); err == nil {
		t.Error("the certificate signs for who knows whom")
	}
	if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "cannot check the server's host key (ssh-rsa)") {
		t.Errorf("status: %s, %q", code, sentence)
	}
	w.since(1, 0)
}

// A server with a host key of a type that no program here has, as OpenSSH 10.4 has
// one. Its client says of it what ssh does. Nothing is proven, phone-held keys work
// when the person agrees, the certificate does not; and that the agent is forwarded
// to such a server is not lost.
func TestHostKeyOfAnUnknownType(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.requestCertificate()
	o, key := sshdtest.New(t), w.identity("ssh-ed25519").key(t)
	cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.certificateLine(o)))
	if err != nil {
		t.Fatal(err)
	}
	odd := ssh.Marshal(struct {
		Type string
		Key  []byte
	}{"ssh-mldsa44-ed25519", bytes.Repeat([]byte{7}, 1344)})
	fingerprint := sshctx.Fingerprint(odd)
	// As that key's client asks: bound for a login, or for forwarding.
	connects := func(key ssh.PublicKey, session byte, forwarding bool) *intruder {
		t.Helper()
		i := newIntruder(t, w.computer.socket(), key)
		bound := sshctx.Binding{HostKey: odd, SessionID: sessionID(session), Signature: make([]byte, 2484), Forwarding: forwarding}
		if _, err := i.agent.Extension("session-bind@openssh.com", bound.Marshal()); err != nil {
			t.Fatal(err)
		}
		keys, err := i.agent.List()
		if err != nil || len(keys) != 1 || keys[0].Comment != "ssh-ed25519" {
			t.Errorf("listed: %v, %v", keys, err)
		}
		return i
	}
	toOdd := func(key ssh.PublicKey) []byte {
		return sshctx.Context{
			Kind: sshctx.HostBound, SessionID: sessionID(1), User: "root", Service: "ssh-connection",
			Algorithm: key.Type(), PublicKey: key.Marshal(), HostKey: odd,
		}.Marshal()
	}
	refused := func(data []byte, i *intruder) {
		t.Helper()
		before := len(w.records())
		if err := i.sign(data); err == nil {
			t.Error("signed by the certificate")
		}
		if r := w.computer.try("status"); !strings.Contains(r.stdout+r.stderr, "vmux cannot check the server's host key (ssh-mldsa44-ed25519)") ||
			!strings.Contains(r.stdout+r.stderr, "ssh -o HostKeyAlgorithms=ssh-ed25519") {
			t.Errorf("vmux status:\n%s%s", r.stdout, r.stderr)
		}
		w.since(before, 0)
	}
	refused(login(cert, sessionID(1), "root", nil), connects(cert, 1, false))
	refused(toOdd(cert), connects(cert, 1, false))
	refused(toOdd(cert), newIntruder(t, w.computer.socket(), cert)) // says so in the bytes alone

	for name, data := range map[string][]byte{"plain": login(key, sessionID(1), "root", nil), "host-bound": toOdd(key)} {
		before := len(w.records())
		if err := connects(key, 1, false).sign(data); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.expect(w.since(before, 1)[0], "claimed", "root@unknown", "through", "", "seen", "", "warning", "",
			"server", "not proven: this phone cannot check its host key (ssh-mldsa44-ed25519) (verified)", "host key", fingerprint+" (claimed)",
			"hint", "ssh -o HostKeyAlgorithms=ssh-ed25519 uses another of its host keys, if it has one (verified)")
	}
	if hosts := w.phone.run("phone", "hosts"); hosts != "" {
		t.Errorf("remembered:\n%s", hosts)
	}

	prod := newServerKey(t)
	hop := func(key ssh.PublicKey) *intruder { return connects(key, 9, true) }
	refused(login(cert, sessionID(1), "root", &prod), hop(cert))
	before := len(w.records())
	if err := hop(key).sign(login(key, sessionID(1), "root", &prod)); err != nil {
		t.Fatal(err)
	}
	w.expect(w.since(before, 1)[0], "verified", "root@"+prod.fingerprint(), "server", prod.fingerprint()+" (verified)",
		"through", fingerprint+" (not proven) (claimed)")
	w.phone.run("phone", "policy", "ssh-ed25519", "--forbid", "forwarded")
	if err := hop(key).sign(login(key, sessionID(1), "root", &prod)); err == nil {
		t.Error("signed for a forwarded agent, which the policy forbids")
	}
}

// A login without publickey-hostbound to a server that has it: the person has to
// know why. A key that is limited to that server by its fingerprint signs no such
// login, unless the person has allowed old servers.
func TestLoginThatNoLongerNamesTheServer(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w, person := askingWorld(t)
		s := w.server(o)
		const unbound, warns = "PubkeyAuthentication=unbound", "The login does NOT NAME the server. Sign all the same?  C yes, n no"
		approved := 0
		logIn := func(key string, options ...string) {
			t.Helper()
			shown := person.count(warns)
			done := w.logsInAs(o, "prod.example", s, options...)
			if key == "C" {
				person.waitCount(warns, shown+1, "")
			}
			approved++
			person.waitCount("Approved.", approved, key)
			if err := w.wait(done); err != nil {
				t.Fatal(err)
			}
		}
		logIn("y", "-o", unbound) // as with a server older than OpenSSH 8.9
		logIn("y")
		logIn("C", "-o", unbound)
		logIn("y")
		logIn("C", "-o", unbound)
		r := w.since(4, 1)[0]
		w.expect(r, "verified", username(t)+"@prod.example", "server", fingerprintOf(t, s.HostKey)+" (verified)",
			"warning", "earlier logins to this server named it in what is signed; this one does not, and could be to another server (verified)")

		w.phone.run("phone", "policy", "ssh-ed25519", "--hosts", fingerprintOf(t, s.HostKey))
		w.waitServers("ssh-ed25519", 1)
		sheets := person.sheets()
		if err := w.wait(w.logsInAs(o, "prod.example", s, "-o", unbound)); err == nil || person.sheets() != sheets {
			t.Errorf("limited by fingerprint: %v, %d sheets", err, person.sheets()-sheets)
		}
		if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "does not name it in what is signed") {
			t.Errorf("vmux status: %s, %q", code, sentence)
		}
		logIn("y")
		w.phone.run("phone", "policy", "ssh-ed25519", "--old-servers")
		logIn("C", "-o", unbound)
	})
}

// attacker: a program on the computer that has the host key of a server to which the
// person logs in. It logs in to another server, and has the first one vouch for the
// session.
func TestComputerWithTheHostKeyOfAKnownServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	key := w.identity("ssh-ed25519").key(t)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		w.phone.run("phone", "policy", "ssh-ed25519", "--clear")
		w.waitServers("ssh-ed25519", 0)
		known, target := w.server(o), w.server(o)
		name := o.Name + ".example"
		if err := w.wait(w.logsInAs(o, name, known)); err != nil {
			t.Fatal(err)
		}
		private, err := os.ReadFile(known.HostKeyFile())
		if err != nil {
			t.Fatal(err)
		}
		stolen, err := ssh.ParsePrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		attack := func() error {
			i := newIntruder(t, w.computer.socket(), key)
			i.vouches = &serverKey{stolen}
			return i.login(target)
		}
		before := len(w.records())
		if err := attack(); err != nil { // this phone approves all
			t.Fatal(err)
		}
		r := w.since(before, 1)[0]
		if warning := r.says("warning"); !strings.HasPrefix(warning, "earlier logins to this server named it") {
			t.Errorf("the sheet had no warning: %+v", r)
		}
		w.phone.run("phone", "policy", "ssh-ed25519", "--hosts", fingerprintOf(t, known.HostKey))
		if err := attack(); err == nil {
			t.Error("logged in to another server than the one that the key is limited to")
		}
		if err := w.wait(w.logsInAs(o, name, known)); err != nil {
			t.Error(err)
		}
	})
}
