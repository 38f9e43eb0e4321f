//go:build !js

package sshctx

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// recorder is a real SSH agent that keeps the bytes it was asked to sign.
type recorder struct {
	agent.ExtendedAgent
	mu       sync.Mutex
	signed   [][]byte
	bindings [][]byte
}

func (r *recorder) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	r.mu.Lock()
	r.signed = append(r.signed, bytes.Clone(data))
	r.mu.Unlock()
	return r.ExtendedAgent.SignWithFlags(key, data, flags)
}

func (r *recorder) Extension(name string, contents []byte) ([]byte, error) {
	if name != "session-bind@openssh.com" {
		return nil, agent.ErrExtensionUnsupported
	}
	r.mu.Lock()
	r.bindings = append(r.bindings, bytes.Clone(contents))
	r.mu.Unlock()
	return []byte{6}, nil // SSH_AGENT_SUCCESS
}

// serve puts a key made by ssh-keygen into an agent on a socket.
func serve(t *testing.T, keyType string) (r *recorder, socket, public string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	run(t, nil, "ssh-keygen", "-q", "-t", keyType, "-N", "", "-f", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	r = &recorder{ExtendedAgent: agent.NewKeyring().(agent.ExtendedAgent)}
	if err := r.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() { l.Close(); group.Wait() })
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_ = agent.ServeAgent(r, conn) // ends with the client
			})
		}
	})
	return r, socket, file + ".pub"
}

func run(t *testing.T, environment []string, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), environment...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s (if it is missing: make setup)", name, err, out)
	}
}

func TestSignaturesOfSSHKeygen(t *testing.T) {
	for _, keyType := range []string{"ed25519", "ecdsa", "rsa"} {
		for _, namespace := range []string{"git", "file"} {
			t.Run(keyType+" "+namespace, func(t *testing.T) {
				r, socket, public := serve(t, keyType)
				message := filepath.Join(t.TempDir(), "message")
				if err := os.WriteFile(message, []byte("hello\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				run(t, []string{"SSH_AUTH_SOCK=" + socket}, "ssh-keygen", "-Y", "sign", "-n", namespace, "-f", public, message)
				c := only(t, r)
				if c.Kind != SSHSIG || c.Namespace != namespace || c.HashAlgorithm != "sha512" {
					t.Errorf("got %+v", c)
				}
			})
		}
	}
}

// only parses the one thing that was signed, and checks that it encodes back.
func only(t *testing.T, r *recorder) Context {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.signed) != 1 {
		t.Fatalf("%d signatures asked, want 1", len(r.signed))
	}
	c, err := Parse(r.signed[0])
	if err != nil {
		t.Fatalf("%v: %x", err, r.signed[0])
	}
	if !bytes.Equal(c.Marshal(), r.signed[0]) {
		t.Fatalf("%x encodes to %x", r.signed[0], c.Marshal())
	}
	return c
}

// loginServer accepts any key, so that what ssh signs can be looked at: a server
// of x/crypto, which knows plain publickey alone.
func loginServer(t *testing.T) (address string, hostKey ssh.PublicKey) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "host")
	run(t, nil, "ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil },
	}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() { l.Close(); group.Wait() })
	group.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		// The login is all that is wanted: then the connection closes.
		_, _, _, _ = ssh.NewServerConn(conn, config)
	})
	return l.Addr().String(), host.PublicKey()
}

func TestLoginOfSSH(t *testing.T) {
	for _, keyType := range []string{"ed25519", "rsa"} {
		t.Run(keyType, func(t *testing.T) {
			r, socket, _ := serve(t, keyType)
			address, hostKey := loginServer(t)
			_, port, _ := net.SplitHostPort(address)
			command := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-p", port, "-l", "root",
				"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
				"-o", "IdentityAgent="+socket, "-o", "IdentitiesOnly=no", "-o", "IdentityFile=none", "127.0.0.1", "true")
			out, _ := command.CombinedOutput() // fails: the server closes after the login
			if command.ProcessState == nil {
				t.Fatal("ssh is missing: make setup")
			}
			t.Log(strings.TrimSpace(string(out)))
			c := only(t, r)
			if c.Kind != UserAuth || c.User != "root" {
				t.Errorf("got %+v", c)
			}
			if len(r.bindings) == 0 {
				t.Fatal("ssh told of no binding; it needs OpenSSH 8.9 or newer: make setup")
			}
			b, err := ParseBinding(r.bindings[0])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Marshal(), r.bindings[0]) || !bytes.Equal(b.HostKey, hostKey.Marshal()) || !b.Covers(c) {
				t.Errorf("binding %+v does not cover %+v", b, c)
			}
			if got := ServerOf([]Binding{b}, c); !bytes.Equal(got, hostKey.Marshal()) {
				t.Errorf("the server's key is %x", got)
			}
		})
	}
}
