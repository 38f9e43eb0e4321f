//go:build linux || darwin

package nativephone

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/identity"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// upstream starts OpenSSH's own agent with a fresh key of each type.
func upstream(t *testing.T, types ...string) (socket string) {
	t.Helper()
	dir := testkit.SocketDir(t)
	socket = filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatalf("OpenSSH is needed, see `make setup`: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	waitFor(t, "ssh-agent", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	for _, kind := range types {
		file := filepath.Join(dir, kind)
		run(t, socket, "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", kind+" key", "-f", file)
		run(t, socket, "ssh-add", file)
	}
	return socket
}

func run(t *testing.T, socket, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func identities(t *testing.T, socket string) []identity.Identity {
	t.Helper()
	keys, err := UpstreamKeys(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	var list []identity.Identity
	for _, k := range keys {
		list = append(list, identity.Identity{Label: k.Comment, Algorithm: k.Format, PublicKey: bytes.Clone(k.Blob), Ref: socket})
	}
	return list
}

func TestUpstreamSigns(t *testing.T) {
	list := identities(t, upstream(t, "ed25519", "ecdsa", "rsa"))
	if len(list) != 3 {
		t.Fatalf("%d keys, want 3", len(list))
	}
	for _, id := range list {
		algorithms := []string{id.Algorithm}
		if id.Algorithm == ssh.KeyAlgoRSA {
			algorithms = []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
		}
		for _, algorithm := range algorithms {
			sig, err := Upstream{}.Sign(t.Context(), id, []byte("data"), algorithm, nil)
			if err != nil || sig.Format != algorithm {
				t.Errorf("%s by %s: %v, %v", id.Label, algorithm, sig, err)
			}
		}
	}
}

func TestUpstreamKeyIsGone(t *testing.T) {
	socket := upstream(t, "ed25519")
	id := identities(t, socket)[0]
	run(t, socket, "ssh-add", "-q", "-D")
	_, err := Upstream{}.Sign(t.Context(), id, []byte("data"), id.Algorithm, nil)
	if wire.CodeOf(err) != wire.CodeAuthenticationFailed || strings.Contains(err.Error(), socket) {
		t.Errorf("a key that the agent no longer has: %v", err)
	}
	id.Ref = filepath.Join(t.TempDir(), "none")
	if _, err = (Upstream{}).Sign(t.Context(), id, []byte("data"), id.Algorithm, nil); wire.CodeOf(err) != wire.CodeKeyNotFound {
		t.Errorf("an agent that does not run: %v", err)
	}
}

// An upstream agent that takes the request and says nothing, as one that waits
// for a touch does, holds nobody up once the computer has withdrawn.
func TestUpstreamThatWaitsIsLeft(t *testing.T) {
	id := identities(t, upstream(t, "ed25519"))[0]
	id.Ref = filepath.Join(filepath.Dir(id.Ref), "silent")
	l, err := net.Listen("unix", id.Ref)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Upstream{}.Sign(ctx, id, []byte("data"), id.Algorithm, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > patience/2 {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
