package test

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/sshdtest"
)

// waitFewer waits until the next login at that server is offered at most so many keys,
// which is when the connection of the one before has ended: -1 is as many as ever.
func (w *world) waitFewer(host string, most int) {
	w.Helper()
	waitFor(w, fmt.Sprintf("%d keys at most for %s", most, host), func() bool {
		var s control.Status
		if err := json.Unmarshal([]byte(w.computer.run("status", "--json")), &s); err != nil {
			w.Fatal(err)
		}
		at := slices.IndexFunc(s.FewerKeys, func(f control.FewerKeys) bool { return f.Server == host })
		return at < 0 && most < 0 || at >= 0 && s.FewerKeys[at].Most == most
	})
}

// A server that takes none of the phone's keys is left to local keys and passwords,
// also where it counts few tries, and for good: after other servers took a key, and
// after the agent was started anew.
func TestPhoneKeysMakeRoom(t *testing.T) {
	t.Parallel()
	w := labelledWorld(t, "one", "one", "two", "three", "four", "five")
	w.requestCertificate()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
		local := filepath.Join(t.TempDir(), "local")
		o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", local)
		public, err := os.ReadFile(local + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}, MaxAuthTries: 4})
		other := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("two").PublicKey}})
		host := fingerprintOf(t, server.HostKey)
		logIn := func(options ...string) (offered []string, denied error) {
			t.Helper()
			offered, err := w.offers(server.Command(deadline(t), t, o, w.computer.socket(), append(options, "true")...))
			return offered, err
		}
		elsewhere := func() { must(t, other.Command(deadline(t), t, o, w.computer.socket(), "true")) }

		if offered, err := logIn("-i", local); err == nil {
			t.Errorf("the first time: logged in after %q", offered)
		}
		w.waitFewer(host, 2)
		elsewhere()
		offered, err := logIn("-i", local) // the certificate, two keys, and then the local one is the fourth
		if err != nil || len(offered) != 4 {
			t.Errorf("the second time: offered %q, %v", offered, err)
		}
		w.waitFewer(host, 0)
		elsewhere()
		only := func(when string) {
			t.Helper()
			if offered, err := logIn("-i", local); err != nil || !slices.Equal(offered, []string{"vmux-session-cert", local}) && !slices.Equal(offered, []string{local}) {
				t.Errorf("%s: offered %q, %v", when, offered, err)
			}
		}
		only("the third time")
		for _, text := range []string{"took no key of a phone", host, "none is offered there any more", "ssh -i KEY.pub", "vmux keys refresh"} {
			if r := w.computer.try("status"); !strings.Contains(r.stderr, text) {
				t.Errorf("vmux status lacks %q:\n%s", text, r.stderr)
			}
		}

		// ssh that is told to offer nothing of the agent's says nothing of its keys.
		w.computer.run("keys", "refresh")
		w.waitFewer(host, -1)
		for range 2 {
			if offered, err := logIn("-i", local, "-o", "IdentitiesOnly=yes"); err != nil || len(offered) != 1 {
				t.Errorf("IdentitiesOnly: offered %q, %v", offered, err)
			}
		}
		w.waitFewer(host, -1)
		if offered, err := logIn(); err == nil || len(offered) < 3 {
			t.Errorf("after vmux keys refresh: offered %q, %v", offered, err)
		}
		w.waitFewer(host, 2)
		logIn()
		w.waitFewer(host, 0)

		// Whoever copies a key there is not turned away by the agent afterwards.
		copies := server.Command(deadline(t), t, o, w.computer.socket(), "-i", local, "cat")
		script := w.computer.file("ssh-copy-id", "#!/bin/sh\n"+strings.Join(copies.Args, " ")+" </dev/null\nexit $?\n")
		if err := os.Chmod(script, 0o700); err != nil {
			t.Fatal(err)
		}
		must(t, w.computer.commandOf(deadline(t), script))
		w.waitFewer(host, -1)
		logIn()
		w.waitFewer(host, 2)
		logIn()
		w.waitFewer(host, 0)

		// The server takes a phone's key at last, which the user names.
		server.Permit(t, string(public), w.identity("three").PublicKey)
		if _, err := logIn("-i", w.publicFile("three")); err != nil {
			t.Errorf("a key that is named: %v", err)
		}
		w.waitFewer(host, -1)
		if offered, err := logIn(); err != nil || !slices.Equal(offered, []string{"vmux-session-cert", "one", "two", "three"}) {
			t.Errorf("after a login there: offered %q, %v", offered, err)
		}
	})
}

// A git host: two logins without a signature, then a person has the keys printed and adds one
// on the host's page. A program that prints them, as git's defaultKeyCommand, is none.
func TestPrintedKeysAreOfferedAgain(t *testing.T) {
	t.Parallel()
	w := labelledWorld(t, "one", "one")
	o := sshdtest.New(t)
	server := o.StartServer(t, sshdtest.Config{})
	host := fingerprintOf(t, server.HostKey)
	for _, most := range []int{2, 0} {
		if _, err := w.offers(server.Command(deadline(t), t, o, w.computer.socket(), "true")); err == nil {
			t.Fatal("logged in")
		}
		w.waitFewer(host, most)
	}
	server.Permit(t, w.identity("one").PublicKey)
	list := "SSH_AUTH_SOCK=" + w.computer.socket() + " ssh-add -L | cat"
	must(t, w.computer.commandOf(deadline(t), "sh", "-c", list))
	w.waitFewer(host, 0)
	shell := w.computer.commandOf(deadline(t), "bash", "--norc", "--noprofile", "-i")
	shell.Env = append(shell.Env, "TERM=vt100", "PS1=ready> ")
	desk := onTerminal(t, shell)
	desk.waitCount("ready> ", 1, "")
	desk.types(list + "\n")
	desk.waitCount("ready> ", 2, "")
	w.waitFewer(host, -1)
	if offered, err := w.offers(server.Command(deadline(t), t, o, w.computer.socket(), "true")); err != nil {
		t.Errorf("offered %q: %v", offered, err)
	}
}

// A server of another make that takes a password: at the third login it is asked for.
func TestPhoneKeysMakeRoomForPasswords(t *testing.T) {
	t.Parallel()
	w := labelledWorld(t, "one", "one", "two", "three", "four")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
		key := newServerKey(t)
		address := passwordServer(t, key.Signer, 2)
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		askpass := w.computer.file("askpass", "#!/bin/sh\necho secret\n")
		if err := os.Chmod(askpass, 0o700); err != nil {
			t.Fatal(err)
		}
		logIn := func() (string, error) {
			cmd := w.computer.commandOf(deadline(t), o.SSH, "-F", "none", "-p", port, "-o", "StrictHostKeyChecking=no",
				"-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityFile=none", "-o", "IdentityAgent="+w.computer.socket(), "somebody@"+host, "true")
			cmd.Env = append(cmd.Env, "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
			_, stderr, err := finish(cmd)
			return stderr, err
		}
		for _, most := range []int{2, 0} {
			if stderr, err := logIn(); err == nil || !strings.Contains(stderr, "Too many") && !strings.Contains(stderr, "too many") {
				t.Fatalf("%v, %s", err, stderr)
			}
			w.waitFewer(ssh.FingerprintSHA256(key.PublicKey()), most)
		}
		if stderr, err := logIn(); err != nil {
			t.Errorf("by the password: %v, %s", err, stderr)
		}
		if r := w.computer.try("status"); !strings.Contains(r.stderr, "["+host+"]:"+port) {
			t.Errorf("vmux status does not name the server as it was typed:\n%s", r.stderr)
		}
	})
}

// passwordServer takes no key and one password, and runs nothing.
func passwordServer(t *testing.T, hostKey ssh.Signer, tries int) (address string) {
	t.Helper()
	config := &ssh.ServerConfig{
		MaxAuthTries: tries,
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errors.New("no key")
		},
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != "secret" {
				return nil, errors.New("another password")
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				conn, channels, requests, err := ssh.NewServerConn(c, config)
				if err != nil {
					return
				}
				serving.Go(func() { ssh.DiscardRequests(requests) })
				for n := range channels {
					runsNothing(n)
				}
				conn.Wait()
			})
		}
	})
	t.Cleanup(func() { cancel(); listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

// runsNothing answers a session's command with success.
func runsNothing(n ssh.NewChannel) {
	channel, requests, err := n.Accept()
	if err != nil {
		return
	}
	for r := range requests {
		r.Reply(true, nil)
		if r.Type == "exec" {
			channel.SendRequest("exit-status", false, make([]byte, 4))
			channel.Close()
		}
	}
}

// One server that takes two of the phone's keys, as a git host with two accounts. Who
// names one of them, however that is done, is somebody else that time only.
func TestNamedKeyTeachesNothing(t *testing.T) {
	t.Parallel()
	w := labelledWorld(t, "home", "home", "work")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
		accepts := sshdtest.Config{AuthorizedKeys: []string{w.identity("home").PublicKey, w.identity("work").PublicKey}}
		work := w.publicFile("work")
		for _, c := range []struct {
			name   string
			config string // of the alias, beside the server's
			args   []string
		}{
			{"-i", "", []string{"-i", work}},
			{"-i and IdentitiesOnly", "", []string{"-i", work, "-o", "IdentitiesOnly=yes"}},
			{"-o IdentityFile", "", []string{"-oIdentityFile=" + work}},
			{"IdentityFile", "IdentityFile " + work, nil},
			{"Match exec", "Match exec true\nIdentityFile " + work, nil},
			{"a token", "IdentityFile " + strings.TrimSuffix(work, "work.pub") + "%n.pub", nil},
			{"a hash", "IdentityFile " + strings.TrimSuffix(work, "work.pub") + "%C.pub", nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
				server := o.StartServer(t, accepts)
				plain := server.ClientConfig(t, w.computer.socket())
				text := strings.Replace(read(t, plain), "IdentityFile none\n", "", 1)
				named := w.computer.file("named", strings.Replace(text, "Host "+sshdtest.Host, "Host work", 1)+c.config+"\n")
				if c.name == "a hash" { // ssh_config(5), TOKENS: that the agent does not work out
					host, err := os.Hostname()
					if err != nil {
						t.Fatal(err)
					}
					sum := sha1.Sum(fmt.Append(nil, host, "127.0.0.1", server.Port, server.User))
					w.computer.file(fmt.Sprintf("%x.pub", sum), read(t, work))
				}
				who := func(config, alias string, args ...string) string {
					t.Helper()
					args = append([]string{"-v", "-F", config}, append(args, alias, "true")...)
					_, stderr, err := finish(w.computer.commandOf(deadline(t), o.SSH, args...))
					if err != nil {
						t.Fatalf("%v\n%s", err, stderr)
					}
					accepted := strings.Index(stderr, "Server accepts key: ")
					if accepted < 0 {
						t.Fatalf("no key was taken:\n%s", stderr)
					}
					return filepath.Base(strings.Fields(stderr[accepted:])[3])
				}
				alias := "work"
				if c.args != nil {
					named, alias = plain, sshdtest.Host
				}
				for range 2 {
					if got := who(named, alias, c.args...); !strings.HasSuffix(got, ".pub") { // the file's name
						t.Errorf("named: %s", got)
					}
				}
				if got := who(plain, sshdtest.Host); got != "home" {
					t.Errorf("after that, without a name: %s", got)
				}
			})
		}
	})
}
