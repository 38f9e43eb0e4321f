package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// otherClients are SSH clients that share no code with OpenSSH. Each logs in
// to a server and prints what it finds in a file there.
var otherClients = []struct {
	name string
	make func(ctx context.Context, t *testing.T, s *sshdtest.Server, path string) *exec.Cmd
}{
	{"plink", func(ctx context.Context, t *testing.T, s *sshdtest.Server, path string) *exec.Cmd {
		return exec.CommandContext(ctx, "/usr/bin/plink", "-batch", "-ssh", "-P", fmt.Sprint(s.Port),
			"-l", s.User, "-hostkey", hostFingerprint(t, s), "127.0.0.1", "cat", path)
	}},
	{"paramiko", func(ctx context.Context, t *testing.T, s *sshdtest.Server, path string) *exec.Cmd {
		return exec.CommandContext(ctx, "/usr/bin/python3", "-c", paramikoLogin,
			fmt.Sprint(s.Port), s.User, s.HostKey, path)
	}},
	{"curl", func(ctx context.Context, t *testing.T, s *sshdtest.Server, path string) *exec.Cmd {
		home := t.TempDir()
		line := fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, s.HostKey)
		if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, "/usr/bin/curl", "-sS", "-u", s.User+":",
			fmt.Sprintf("sftp://127.0.0.1:%d%s", s.Port, path))
		cmd.Env = []string{"HOME=" + home}
		return cmd
	}},
}

const paramikoLogin = `
import base64, sys
import paramiko
port, user, host_key, path = sys.argv[1:]
client = paramiko.SSHClient()
kind, blob = host_key.split()[:2]
client.get_host_keys().add("[127.0.0.1]:" + port, kind, paramiko.Ed25519Key(data=base64.b64decode(blob)))
client.connect("127.0.0.1", int(port), user, allow_agent=True, look_for_keys=False)
sys.stdout.write(client.exec_command("cat " + path)[1].read().decode())
client.close()
`

func hostFingerprint(t *testing.T, s *sshdtest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.pub")
	if err := os.WriteFile(path, []byte(s.HostKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(s.OpenSSH.Keygen(t, "-l", "-f", path))[1]
}

func TestOtherClientsLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	byKey := sshdtest.Config{AuthorizedKeys: []string{w.identity("ecdsa-sha2-nistp256").PublicKey}}
	logInWithOthers(t, w, "key", byKey, 1)
	byCertificate := sshdtest.Config{TrustedUserCAKeys: []string{w.requestCertificate()}}
	logInWithOthers(t, w, "certificate", byCertificate, 0)
}

func logInWithOthers(t *testing.T, w *world, by string, config sshdtest.Config, approvals int) {
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, config)
		path := w.computer.file("greeting", "welcome\n")
		for _, c := range otherClients {
			t.Run(c.name+" by "+by, func(t *testing.T) {
				before := w.approvals()
				cmd := c.make(deadline(t), t, server, path)
				cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+w.computer.socket(), "PATH=/usr/bin:/bin")
				if out := must(t, cmd); out != "welcome\n" {
					t.Errorf("%s printed %q", c.name, out)
				}
				want := approvals
				if c.name == "paramiko" {
					want = 1 // it has the first key sign, without asking whether the server takes it
				}
				if n := w.approvals() - before; n != want {
					t.Errorf("the phone approved %d signatures, want %d", n, want)
				}
			})
		}
	})
}
