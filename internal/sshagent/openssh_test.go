package sshagent_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
)

// oneKey is a Backend that is asked for each signature and approves.
type oneKey struct {
	signer ssh.Signer
	mu     sync.Mutex
	last   sshagent.SignRequest
}

const comment = "the only key"

func (k *oneKey) Listing(context.Context, sshagent.Connection) *sshagent.Listing {
	return sshagent.NewListing([]sshagent.Identity{{Blob: k.signer.PublicKey().Marshal(), Comment: comment}})
}

func (k *oneKey) SignLocal(_ sshagent.Connection, _, _ []byte, _ uint32) ([]byte, bool, error) {
	return nil, false, nil
}

func (k *oneKey) Sign(_ context.Context, r sshagent.SignRequest) ([]byte, error) {
	k.mu.Lock()
	k.last = r
	k.mu.Unlock()
	s, err := k.signer.Sign(rand.Reader, r.Data)
	return ssh.Marshal(s), err
}

func (k *oneKey) RemoveAll()         {}
func (k *oneKey) Remove([]byte) bool { return false }

func serveOneKey(t *testing.T) (*oneKey, string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := ssh.NewSignerFromKey(private)
	k := &oneKey{signer: signer}
	path := filepath.Join(testkit.SocketDir(t), "s")
	l, err := sshagent.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- sshagent.New(sshagent.Config{Backend: k}).Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return k, path
}

// tool runs a program of OpenSSH's with the agent and returns all it printed.
func tool(t *testing.T, socket, askpass, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket, "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:none")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestSSHAdd(t *testing.T) {
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			k, socket := serveOneKey(t)
			public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
			fingerprint := ssh.FingerprintSHA256(k.signer.PublicKey())
			if out, err := tool(t, socket, "", o.SSHAdd, "-L"); err != nil || out != public+" "+comment {
				t.Errorf("ssh-add -L: %v: %s", err, out)
			}
			if out, err := tool(t, socket, "", o.SSHAdd, "-l"); err != nil || out != "256 "+fingerprint+" "+comment+" (ECDSA)" {
				t.Errorf("ssh-add -l: %v: %s", err, out)
			}
			file := filepath.Join(t.TempDir(), "key.pub")
			os.WriteFile(file, []byte(public+"\n"), 0o600)
			if out, err := tool(t, socket, "", o.SSHAdd, "-T", file); err != nil {
				t.Errorf("ssh-add -T: %v: %s", err, out)
			}
			if out, err := tool(t, socket, "", o.SSHAdd, "-d", file); err == nil {
				t.Errorf("ssh-add -d removed a key of the phone's: %s", out)
			}
			if out, err := tool(t, socket, "", o.SSHAdd, "-D"); err != nil {
				t.Errorf("ssh-add -D: %v: %s", err, out)
			}
			o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", file+".private")
			for _, args := range [][]string{{file + ".private"}, {"-c", file + ".private"}, {"-s", "/usr/lib/nothing.so"}} {
				if out, err := tool(t, socket, "", o.SSHAdd, args...); err == nil {
					t.Errorf("ssh-add %v: a key was taken: %s", args, out)
				}
			}
		})
	}
}

func TestSSHAddLocks(t *testing.T) {
	askpass := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(askpass, []byte("#!/bin/sh\necho correct horse\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			_, socket := serveOneKey(t)
			if out, err := tool(t, socket, askpass, o.SSHAdd, "-x"); err != nil {
				t.Fatalf("ssh-add -x: %v: %s", err, out)
			}
			if out, err := tool(t, socket, "", o.SSHAdd, "-l"); err == nil || out != "The agent has no identities." {
				t.Errorf("a locked agent: %v: %s", err, out)
			}
			if out, err := tool(t, socket, askpass, o.SSHAdd, "-X"); err != nil {
				t.Fatalf("ssh-add -X: %v: %s", err, out)
			}
			if out, err := tool(t, socket, "", o.SSHAdd, "-l"); err != nil || !strings.Contains(out, comment) {
				t.Errorf("an unlocked agent: %v: %s", err, out)
			}
		})
	}
}

func TestSSHKeygenSigns(t *testing.T) {
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			k, socket := serveOneKey(t)
			dir := t.TempDir()
			file, public, signers := filepath.Join(dir, "file"), filepath.Join(dir, "key.pub"), filepath.Join(dir, "signers")
			line := string(ssh.MarshalAuthorizedKey(k.signer.PublicKey()))
			os.WriteFile(file, []byte("text"), 0o600)
			os.WriteFile(public, []byte(line), 0o600)
			os.WriteFile(signers, []byte("me "+line), 0o600)
			if out, err := tool(t, socket, "", o.SSHKeygen, "-Y", "sign", "-n", "file", "-f", public, file); err != nil {
				t.Fatalf("ssh-keygen -Y sign: %v: %s", err, out)
			}
			verify := exec.Command(o.SSHKeygen, "-Y", "verify", "-n", "file", "-f", signers, "-I", "me", "-s", file+".sig")
			verify.Stdin = strings.NewReader("text")
			if out, err := verify.CombinedOutput(); err != nil {
				t.Errorf("ssh-keygen -Y verify: %v: %s", err, out)
			}
		})
	}
}

// ssh binds its session before it asks for a signature, and the backend learns
// the server's key, also over a forwarded connection.
func TestLoginBindsTheSession(t *testing.T) {
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			k, socket := serveOneKey(t)
			line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
			server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
			host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(server.HostKey))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			if out, err := server.Command(ctx, t, o, socket, "true").CombinedOutput(); err != nil {
				t.Fatalf("ssh: %v: %s", err, out)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			b := k.last.Bindings
			if len(b) != 1 || string(b[0].HostKey) != string(host.Marshal()) || b[0].Forwarding {
				t.Fatalf("bindings: %+v", b)
			}
			// RFC 4252 section 7: the data begin with the session ID.
			if data := string(k.last.Data); !strings.HasPrefix(data[4:], string(b[0].SessionID)) {
				t.Error("the signed bytes carry another session ID")
			}
		})
	}
}

// OpenSSH since 10.1 can ask which extensions there are.
func TestSSHAddAsksForExtensions(t *testing.T) {
	_, socket := serveOneKey(t)
	out, err := tool(t, socket, "", sshdtest.New(t).SSHAdd, "-Q")
	if err != nil || !strings.Contains(out, "session-bind@openssh.com") || !strings.Contains(out, "query") {
		t.Errorf("ssh-add -Q: %v: %s", err, out)
	}
}
