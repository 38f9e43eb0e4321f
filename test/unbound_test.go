package test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
)

// plinkForwards logs in to a server with plink -A, which binds nothing, and
// returns the agent's socket there.
func (w *world) plinkForwards(t *testing.T, s *sshdtest.Server, args ...string) (socket string) {
	t.Helper()
	args = append(args, "-A", "-batch", "-ssh", "-P", fmt.Sprint(s.Port), "-l", s.User,
		"-hostkey", hostFingerprint(t, s), "127.0.0.1", "echo $SSH_AUTH_SOCK; cat")
	cmd := exec.CommandContext(deadline(t), "/usr/bin/plink", args...)
	cmd.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket(), "PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line == "\n" {
		t.Fatalf("no agent on the server: %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// attacker: root on a server that was logged in to with plink -A, by certificate
// or by the phone-held key. The certificate logs in nowhere from there; a login by
// the phone-held key asks; and the agent can be neither locked nor emptied.
func TestCertificateIsNotForwardedByPlink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	byKey := sshdtest.Config{AuthorizedKeys: []string{w.identity("ecdsa-sha2-nistp256").PublicKey}}
	byCertificate := sshdtest.Config{TrustedUserCAKeys: []string{w.requestCertificate()}}
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		target, other := o.StartServer(t, byCertificate), o.StartServer(t, byKey)
		for name, config := range map[string]sshdtest.Config{"certificate": byCertificate, "key": byKey} {
			t.Run("logged in by "+name, func(t *testing.T) {
				socket := w.plinkForwards(t, o.StartServer(t, config))
				before := w.approvals()
				if _, stderr, err := finish(target.Command(deadline(t), t, o, socket, "true")); err == nil {
					t.Errorf("the certificate logs in through the bastion: %s", stderr)
				}
				cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.certificateLine(o)))
				if err != nil {
					t.Fatal(err)
				}
				if err := newIntruder(t, socket, cert).login(target); err == nil {
					t.Error("the certificate logs in through the bastion, by a client that does not bind")
				}
				if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "may forward the agent") {
					t.Errorf("status: %s, %q", code, sentence)
				}
				if n := w.approvals() - before; n != 0 {
					t.Errorf("%d sheets for a certificate", n)
				}
				must(t, other.Command(deadline(t), t, o, socket, "true"))
				if n := w.approvals() - before; n != 1 {
					t.Errorf("the phone was asked %d times for the phone-held key", n)
				}
				for _, flag := range []string{"-D", "-x", "-X"} {
					add := exec.CommandContext(deadline(t), o.SSHAdd, flag)
					add.Env = []string{"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS=/bin/echo", "SSH_ASKPASS_REQUIRE=force"}
					if out, err := add.CombinedOutput(); err == nil {
						t.Errorf("ssh-add %s through the bastion: %s", flag, out)
					}
				}
				if list := o.Add(t, w.computer.socket(), "-l"); !strings.Contains(list, "vmux-session-cert") {
					t.Errorf("the agent was locked or emptied:\n%s", list)
				}
			})
		}
	})
}

// What a person does on the computer itself: no file is signed by the certificate,
// ssh-copy-id and git take the phone-held key.
func TestCertificateIsForLoginsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519") // git takes only what begins with ssh-
	w.requestCertificate()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		file := w.computer.file("text", "text\n")
		cert := w.certificate(o)
		cmd := exec.CommandContext(deadline(t), o.SSHKeygen, "-Y", "sign", "-n", "file", "-f", cert, file)
		cmd.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket(), "HOME=" + w.computer.dir}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("ssh-keygen -Y sign: %s", out)
		}
	})
	repo := w.repository("repository")
	for key, value := range map[string]string{
		"gpg.format": "ssh", "gpg.ssh.defaultKeyCommand": "ssh-add -L", "commit.gpgSign": "true",
	} {
		repo.git("config", "--global", key, value)
	}
	before := w.approvals()
	commit := repo.command("commit", "--allow-empty", "--message", "first")
	commit.Env = append(commit.Env, "SSH_AUTH_SOCK="+w.computer.socket())
	if _, stderr, err := finish(commit); err != nil || stderr != "" {
		t.Errorf("git commit: %v\n%s", err, stderr)
	}
	if n := w.approvals() - before; n != 1 {
		t.Errorf("the phone approved %d signatures of a commit", n)
	}
}

// attacker: root on a server to which `ssh -R` forwards the agent's socket, in the
// foreground or not. What comes by it is bound as a login of this computer's own; the
// certificate logs in nowhere from there, and a login by the phone-held key asks.
func TestCertificateIsNotForwardedAsASocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	byKey := sshdtest.Config{AuthorizedKeys: []string{w.identity("ecdsa-sha2-nistp256").PublicKey}}
	byCertificate := sshdtest.Config{TrustedUserCAKeys: []string{w.requestCertificate()}}
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		target, other, bastion := o.StartServer(t, byCertificate), o.StartServer(t, byKey), o.StartServer(t, byKey)
		cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.certificateLine(o)))
		if err != nil {
			t.Fatal(err)
		}
		for name, args := range map[string][]string{
			"foreground": {"-N"}, "-f": {"-f", "-N"}, "ControlPersist": {"-o", "ControlPersist=yes", "true"},
			"hpnssh": {"-N"}, "gsissh": {"-N"},
		} {
			t.Run(name, func(t *testing.T) {
				dir, err := os.MkdirTemp(scratch, "r")
				if err != nil {
					t.Fatal(err)
				}
				socket, control := filepath.Join(dir, "a"), filepath.Join(dir, "c")
				args := append([]string{"-R", socket + ":" + w.computer.socket(), "-o", "ControlMaster=yes", "-o", "ControlPath=" + control}, args...)
				forwarding := o
				if strings.HasSuffix(name, "ssh") { // OpenSSH's client as another distribution of it names it
					forwarding.SSH = filepath.Join(dir, name)
					program, err := os.ReadFile(o.SSH)
					if err := errors.Join(err, os.WriteFile(forwarding.SSH, program, 0o700)); err != nil {
						t.Fatal(err)
					}
				}
				login := bastion.Command(deadline(t), t, forwarding, w.computer.socket(), args...)
				if err := login.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					must(t, bastion.Command(deadline(t), t, o, w.computer.socket(), "-O", "exit", "-o", "ControlPath="+control))
					login.Wait()
				})
				waitFor(t, "the socket on the server", func() bool { _, err := os.Stat(socket); return err == nil })
				if name == "-f" || name == "ControlPersist" {
					login.Wait() // what goes on is a process that has forked
				}
				before := w.approvals()
				if _, stderr, err := finish(target.Command(deadline(t), t, o, socket, "true")); err == nil {
					t.Errorf("the certificate logs in from the server: %s", stderr)
				}
				if err := newIntruder(t, socket, cert).login(target); err == nil {
					t.Error("the certificate logs in from the server, by a client that does not bind")
				}
				if list := o.Add(t, socket, "-l"); strings.Contains(list, "vmux-session-cert") {
					t.Errorf("the certificate is listed there:\n%s", list)
				}
				if n := w.approvals() - before; n != 0 {
					t.Errorf("%d sheets for a certificate", n)
				}
				must(t, other.Command(deadline(t), t, o, socket, "true"))
				if n := w.approvals() - before; n != 1 {
					t.Errorf("the phone was asked %d times for the phone-held key", n)
				}
				must(t, target.Command(deadline(t), t, o, w.computer.socket(), "true"))
				if n := w.approvals() - before; n != 1 {
					t.Error("the computer's own login by certificate asks")
				}
			})
		}
	})
}
