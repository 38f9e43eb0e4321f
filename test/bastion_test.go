package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
)

// forwarded logs in to a server with ssh -A and returns the agent's socket there.
func (w *world) forwarded(o sshdtest.OpenSSH, config, name string) (socket string) {
	w.Helper()
	cmd := w.runs(o, config, "-A", name, "echo $SSH_AUTH_SOCK; cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { stdin.Close(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line == "\n" {
		w.Fatalf("no agent on %s: %q, %v", name, line, err)
	}
	return strings.TrimSpace(line)
}

// intruder is a program on a server to which the agent is forwarded.
type intruder struct {
	t     testing.TB
	agent sshclient.ExtendedAgent
	key   ssh.PublicKey // the phone's, which it wants to use
	// vouches, if not nil, binds each session to this host key before it signs.
	vouches *serverKey
}

func newIntruder(t testing.TB, socket string, key ssh.PublicKey) *intruder {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &intruder{t: t, agent: sshclient.NewClient(conn), key: key}
}

func (i *intruder) sign(data []byte) error {
	_, err := i.agent.Sign(i.key, data)
	return err
}

// login logs in to a server with golang.org/x/crypto/ssh, which asks for bytes
// that do not name the server.
func (i *intruder) login(s *sshdtest.Server) error {
	i.t.Helper()
	c, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port), &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(loginKey{i})}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return err
	}
	return c.Close()
}

// loginKey signs with the forwarded agent.
type loginKey struct{ *intruder }

func (k loginKey) PublicKey() ssh.PublicKey { return k.key }

func (k loginKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	if k.vouches != nil {
		about, err := sshctx.Parse(data)
		if err != nil {
			return nil, err
		}
		bound := k.vouches.binds(k.t, about.SessionID, false)
		if _, err := k.agent.Extension("session-bind@openssh.com", bound.Marshal()); err != nil {
			return nil, err
		}
	}
	return k.agent.Sign(k.key, data)
}

// attacker: root on a bastion, who asks through the forwarded agent for logins
// elsewhere. The phone shows where they lead, or that it is not known, and that
// they come through the bastion; never that they lead to the bastion itself.
func TestCompromisedBastion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	key := w.identity("ssh-ed25519").key(t)
	accepts := sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}}
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		name := "bastion." + o.Name
		n := named{name: o.StartServer(t, accepts)}
		w.knows(n)
		target := o.StartServer(t, accepts)
		socket := w.forwarded(o, n.config(t, w.computer.socket()), name)
		asks := func(ask func() error) record {
			t.Helper()
			before := len(w.records())
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			return w.since(before, 1)[0]
		}
		via, unknown := name+" (verified)", "not known: nothing in what is signed names it (verified)"

		other := newServerKey(t)
		r := asks(func() error { return newIntruder(t, socket, key).sign(login(key, sessionID(7), "root", &other)) })
		w.expect(r, "verified", "root@"+other.fingerprint(), "server", other.fingerprint()+" (verified)", "through", via, "name", "")

		r = asks(func() error { return newIntruder(t, socket, key).login(target) })
		w.expect(r, "claimed", target.User+"@unknown", "server", unknown, "through", via)

		// It has the bastion's host key, and signs the session with the target.
		private, err := os.ReadFile(n[name].HostKeyFile())
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		i := newIntruder(t, socket, key)
		i.vouches = &serverKey{signer}
		r = asks(func() error { return i.login(target) })
		w.expect(r, "claimed", target.User+"@unknown", "server", unknown, "through", via, "name", "")

		// A connection that is bound to one session signs for no other.
		i = newIntruder(t, socket, key)
		bound := other.binds(t, sessionID(8), false)
		if _, err := i.agent.Extension("session-bind@openssh.com", bound.Marshal()); err != nil {
			t.Fatal(err)
		}
		before := len(w.records())
		if err := i.sign(login(key, sessionID(7), "root", &other)); err == nil {
			t.Error("signed for another session than the connection's")
		}
		w.since(before, 0)
		if code, sentence := w.lastFailure(); code != "policyDenied" {
			t.Errorf("status: %s, %q", code, sentence)
		}
	})
}

// A binding that comes while the agent is locked counts all the same: somebody
// who sends it then must not gain by it.
func TestBindingOfALockedAgentCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	key := w.identity("ssh-ed25519").key(t)
	prod, other := newServerKey(t), newServerKey(t)
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	i, owner := newIntruder(t, w.computer.socket(), key), newIntruder(t, w.computer.socket(), key)
	if err := owner.agent.Lock([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	bound := prod.binds(t, sessionID(1), false)
	if _, err := i.agent.Extension("session-bind@openssh.com", bound.Marshal()); err != nil {
		t.Fatal(err)
	}
	if err := i.sign(login(key, sessionID(1), "root", &prod)); err == nil {
		t.Fatal("signed while locked")
	}
	if err := owner.agent.Unlock([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	if err := i.sign(login(key, sessionID(1), "root", &other)); err == nil {
		t.Error("signed for another server than the one that the connection is bound to")
	}
	w.since(0, 0)
	if err := i.sign(login(key, sessionID(1), "root", nil)); err != nil {
		t.Fatal(err)
	}
	w.expect(w.since(0, 1)[0], "verified", "root@"+prod.fingerprint(), "server", prod.fingerprint()+" (verified)",
		"proof", "the server has signed the session; what is signed here does not name it (verified)")
}

// The name that a person types leads to another host key than before. The sheet
// says so, and the key that usually approves does not.
func TestChangedHostKeyHasToBeAcknowledged(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	accepts := sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}}
	o := sshdtest.New(t)
	before, after := named{"prod.example": o.StartServer(t, accepts)}, named{"prod.example": o.StartServer(t, accepts)}
	logIn := func(n named) <-chan error {
		w.knows(n)
		cmd := w.runs(o, n.config(t, w.computer.socket()), "prod.example", "true")
		done := make(chan error, 1)
		go func() { done <- cmd.Run() }()
		return done
	}
	done := logIn(before)
	person.waitCount("never before by this phone", 1, "")
	person.waitCount("Approved.", 1, "y")
	if err := w.wait(done); err != nil {
		t.Fatal(err)
	}
	done = logIn(after)
	person.waitCount("prod.example had another host key: "+fingerprintOf(t, before["prod.example"].HostKey), 1, "")
	person.waitCount("The host key has CHANGED. Sign all the same?  C yes, n no", 1, "")
	shown := person.count(" s left")
	person.waitCount(" s left", shown+2, "yghc") // each second the time left is drawn
	if person.count("Approved") != 1 {
		t.Fatal("approved without the acknowledging key")
	}
	person.waitCount("Approved.", 2, "C")
	if err := w.wait(done); err != nil {
		t.Fatal(err)
	}
	done = logIn(after)
	person.waitCount("Approved.", 3, "y")
	if err := w.wait(done); err != nil {
		t.Fatal(err)
	}
	if n := person.count("CHANGED"); n != person.count("CHANGED. Sign") || strings.Contains(tail(person.text(), 600), "CHANGED") {
		t.Error("warned again of what was acknowledged")
	}
	hosts := w.phone.run("phone", "hosts")
	if !strings.Contains(hosts, fingerprintOf(t, after["prod.example"].HostKey)+"  prod.example  as "+username(t)) {
		t.Errorf("vmux phone hosts:\n%s", hosts)
	}
}
