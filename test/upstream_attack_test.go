package test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
)

// attacker: root on a bastion that the agent is forwarded to. The upstream agent's keys sign
// without asking anybody: the bastion neither sees nor uses them, and cannot have the
// upstream agent load, add, remove or lock anything, nor guess an extension of it.
func TestUpstreamAndCompromisedBastion(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		upstream, _ := o.StartAgent(t)
		file, public := newKeyFile(t, o, "theirs")
		o.Add(t, upstream, "-q", file)
		w := upstreamWorld(t, upstream)
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
		if err != nil {
			t.Fatal(err)
		}
		accepts := sshdtest.Config{AuthorizedKeys: []string{public}}
		n := named{"bastion": o.StartServer(t, accepts)}
		target := o.StartServer(t, accepts)
		remote := w.forwarded(o, n.config(t, w.computer.socket()), "bastion")
		if got := listed(t, o, remote); got != "ssh-ed25519" {
			t.Errorf("listed on the bastion: %q", got)
		}
		other := newServerKey(t)
		for name, ask := range map[string]func(i *intruder) error{
			"a login":              func(i *intruder) error { return i.sign(login(key, sessionID(7), "root", &other)) },
			"a real login":         func(i *intruder) error { return i.login(target) },
			"anything":             func(i *intruder) error { return i.sign([]byte("sudo's challenge")) },
			"a login, vouched for": func(i *intruder) error { i.vouches = &other; return i.login(target) },
			"ssh-add -D":           func(i *intruder) error { return i.agent.RemoveAll() },
			"ssh-add -d":           func(i *intruder) error { return i.agent.Remove(key) },
			"ssh-add -x":           func(i *intruder) error { return i.agent.Lock([]byte("x")) },
			"ssh-add -X":           func(i *intruder) error { return i.agent.Unlock([]byte("x")) },
			"an extension":         func(i *intruder) error { _, err := i.agent.Extension("query@example.com", nil); return err },
			"a key of its own": func(i *intruder) error {
				return i.agent.Add(sshclient.AddedKey{PrivateKey: ed25519.NewKeyFromSeed(make([]byte, 32)), Comment: "the intruder's"})
			},
		} {
			if err := ask(newIntruder(t, remote, key)); err == nil {
				t.Errorf("%s was done", name)
			}
		}
		wantListed(t, o, upstream, "theirs")
		if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "through another host") {
			t.Errorf("status: %s, %q", code, sentence)
		}
		wantListed(t, o, w.computer.socket(), "ssh-ed25519 theirs")
	})
}

// attacker: root on a server that was logged in to with plink -A, which binds nothing, by a key
// of the upstream agent. What comes from there looks as plink's own requests do.
func TestUpstreamIsNotForwardedByPlink(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		upstream, _ := o.StartAgent(t)
		file, public := newKeyFile(t, o, "theirs")
		o.Add(t, upstream, "-q", file)
		w := upstreamWorld(t, upstream)
		accepts := sshdtest.Config{AuthorizedKeys: []string{public}}
		target := o.StartServer(t, accepts)
		socket := w.plinkForwards(t, o.StartServer(t, accepts))
		before := w.approvals()
		if _, stderr, err := finish(target.Command(deadline(t), t, o, socket, "true")); err == nil {
			t.Errorf("the upstream agent's key logs in through the bastion: %s", stderr)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
		if err != nil {
			t.Fatal(err)
		}
		if err := newIntruder(t, socket, key).login(target); err == nil {
			t.Error("the upstream agent's key logs in through the bastion, by a client that does not bind")
		}
		if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "may forward the agent") {
			t.Errorf("status: %s, %q", code, sentence)
		}
		signed := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal()
		for name, ask := range map[string]func(i *intruder) error{
			"a commit":     func(i *intruder) error { return i.sign(signed) },
			"anything":     func(i *intruder) error { return i.sign([]byte("sudo's challenge")) },
			"ssh-add -D":   func(i *intruder) error { return i.agent.RemoveAll() },
			"an extension": func(i *intruder) error { _, err := i.agent.Extension("query@example.com", nil); return err },
			"a key of its own": func(i *intruder) error {
				return i.agent.Add(sshclient.AddedKey{PrivateKey: ed25519.NewKeyFromSeed(make([]byte, 32))})
			},
		} {
			if err := ask(newIntruder(t, socket, key)); err == nil {
				t.Errorf("%s was done", name)
			}
		}
		wantListed(t, o, upstream, "theirs")
		if n := w.approvals() - before; n != 0 {
			t.Errorf("the phone has signed %d times", n)
		}
	})
}

// attacker: root on a server that some client of an unknown name was logged in to by its own
// key, with the agent forwarded. The client binds nothing, and vmux has seen no login of its.
// What SECURITY.md says remains: lists, and signatures.
func TestUpstreamIsNotManagedThroughUnknownClients(t *testing.T) {
	t.Parallel()
	o := sshdtest.New(t)
	upstream, _ := o.StartAgent(t)
	file, public := newKeyFile(t, o, "theirs")
	o.Add(t, upstream, "-q", file)
	w := upstreamWorld(t, upstream)
	own, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	bastion := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(own.PublicKey()))}})
	client, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", bastion.Port), &ssh.ClientConfig{
		User: bastion.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(own)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err == nil {
		err = sshclient.ForwardToRemote(client, w.computer.socket())
	}
	if err == nil {
		err = sshclient.RequestAgentForwarding(session)
	}
	if err != nil {
		t.Fatal(err)
	}
	in, errIn := session.StdinPipe()
	out, errOut := session.StdoutPipe()
	if err := errors.Join(errIn, errOut, session.Start("echo $SSH_AUTH_SOCK; cat")); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	socket, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	there := newIntruder(t, strings.TrimSpace(socket), key)
	if list, err := there.agent.List(); err != nil || len(list) != 2 {
		t.Errorf("listed there: %v, %v", list, err) // else the rest shows nothing
	}
	for name, ask := range map[string]func() error{
		"ssh-add -D":   there.agent.RemoveAll,
		"ssh-add -d":   func() error { return there.agent.Remove(key) },
		"ssh-add -X":   func() error { return there.agent.Unlock([]byte("x")) },
		"an extension": func() error { _, err := there.agent.Extension("query@example.com", nil); return err },
		"a key of its own": func() error {
			return there.agent.Add(sshclient.AddedKey{PrivateKey: ed25519.NewKeyFromSeed(make([]byte, 32))})
		},
	} {
		if err := ask(); err == nil {
			t.Errorf("%s was done", name)
		}
	}
	if err := there.agent.Lock([]byte("x")); err != nil { // of vmux, see SECURITY.md
		t.Error(err)
	}
	wantListed(t, o, upstream, "theirs")
}

// attacker: an upstream agent in wrong hands, or one with faults. Whatever it lists, both ssh
// list the phone's keys and log in by them.
func TestUpstreamInWrongHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.agent.stop()
	upstream := filepath.Join(newHome(t).dir, "upstream.sock")
	l, err := net.Listen("unix", upstream)
	if err != nil {
		t.Fatal(err)
	}
	var list atomic.Pointer[[]byte]
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for {
				header := make([]byte, 4)
				if _, err := io.ReadFull(c, header); err != nil {
					break
				}
				msg := make([]byte, binary.BigEndian.Uint32(header))
				io.ReadFull(c, msg)
				answer := []byte{5}
				if msg[0] == 11 {
					answer = *list.Load()
				}
				c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-served })
	str := func(parts ...string) string {
		all := ""
		for _, p := range parts {
			all += string(binary.BigEndian.AppendUint32(nil, uint32(len(p)))) + p
		}
		return all
	}
	phones := string(w.identity("ssh-ed25519").key(t).Marshal())
	short := str("ssh-rsa", "\x01\x00\x01", strings.Repeat("\x7f", 64))
	authority := newServerKey(t)
	certificate := &ssh.Certificate{Key: w.identity("ssh-ed25519").key(t), CertType: ssh.UserCert}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	certificate.Serial++ // so that the signature is wrong
	lists := map[string]string{
		"a wrong certificate":      str(string(certificate.Marshal()), "theirs"),
		"a type that nobody knows": str(str("ssh-unheard-of", "key"), "theirs"),
		"short RSA":                str(short, "theirs"),
		"a cut key":                str(phones[:len(phones)-1], "theirs"),
		"more behind the key":      str(phones+"x", "theirs"),
		"a type alone":             str(str("ssh-ed25519"), "theirs"),
		"an empty key":             str("", "theirs"),
		"zero in the comment":      str(str("ssh-unheard-of", "key"), "a\x00b"),
		"the phone's key":          str(phones, "not the phone's"),
		"a long comment":           str(str("ssh-unheard-of", "key"), strings.Repeat("c", 200000)),
		"10,000 keys":              strings.Repeat(str(str("a", "b"), "c"), 10000),
		"20 keys of 12,000 bytes":  strings.Repeat(str(str("ssh-unheard-of", strings.Repeat("k", 12000)), "theirs"), 20),
	}
	list.Store(&[]byte{12, 0, 0, 0, 0})
	w.startAgent("--upstream", upstream)
	w.waitConnected()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
		for name, keys := range lists {
			n := map[string]uint32{"10,000 keys": 10000, "20 keys of 12,000 bytes": 20}[name]
			answer := append(binary.BigEndian.AppendUint32([]byte{12}, max(n, 1)), keys...)
			list.Store(&answer)
			if got := listed(t, o, w.computer.socket()); !strings.HasPrefix(got, "ssh-ed25519") {
				t.Errorf("%s: listed %.100q", name, got)
			}
			if _, errs, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), "true")); err != nil {
				t.Errorf("%s: %v: %s", name, err, errs)
			}
		}
	})
}
