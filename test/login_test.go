package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// algorithms are those that a phone makes keys of.
var algorithms = []string{
	"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519", "ssh-rsa",
}

func username(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// both runs a test with each OpenSSH.
func both(t *testing.T, test func(t *testing.T, o sshdtest.OpenSSH)) {
	for _, o := range []sshdtest.OpenSSH{sshdtest.Old(t), sshdtest.New(t)} {
		t.Run(o.Name, func(t *testing.T) { test(t, o) })
	}
}

// must runs a command that has to succeed and returns its standard output.
func must(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, errs, err := finish(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, errs)
	}
	return out
}

// finish runs a command to its end and returns what it printed.
func finish(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func TestLoginByPhoneHeldKeyOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, algorithms...)
	both(t, func(t *testing.T, client sshdtest.OpenSSH) {
		both(t, func(t *testing.T, serverOpenSSH sshdtest.OpenSSH) {
			for _, algorithm := range algorithms {
				formats := map[string][]string{"ssh-rsa": {"rsa-sha2-256", "rsa-sha2-512"}}[algorithm]
				if formats == nil {
					formats = []string{algorithm}
				}
				server := serverOpenSSH.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity(algorithm).PublicKey}})
				for _, format := range formats {
					t.Run(format, func(t *testing.T) {
						before := w.approvals()
						must(t, server.Command(deadline(t), t, client, w.computer.socket(),
							"-o", "IdentitiesOnly=yes", "-i", w.publicFile(algorithm),
							"-o", "PubkeyAcceptedAlgorithms="+format, "true"))
						server.WaitForLog(t, w.identity(algorithm).Fingerprint)
						if n := w.approvals() - before; n != 1 {
							t.Errorf("the phone approved %d signatures, want 1", n)
						}
					})
				}
			}
		})
	})
}

func TestLoginByCertificateAsksThePhoneOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	ca := w.requestCertificate()
	both(t, func(t *testing.T, client sshdtest.OpenSSH) {
		both(t, func(t *testing.T, serverOpenSSH sshdtest.OpenSSH) {
			server := serverOpenSSH.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{ca}})
			before := w.approvals()
			for range 3 {
				must(t, server.Command(deadline(t), t, client, w.computer.socket(), "true"))
			}
			server.WaitForLog(t, "ECDSA-CERT")
			server.WaitForLog(t, "ID vmux:")
			if n := w.approvals() - before; n != 0 {
				t.Errorf("the phone was asked for %d signatures", n)
			}
		})
	})
}

// A server that does not know the CA refuses the certificate; the same ssh run
// goes on with the phone-held key.
func TestUntrustedCertificateFallsThroughToThePhoneHeldKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	w.requestCertificate()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		key := w.identity("ecdsa-sha2-nistp256")
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{key.PublicKey}})
		before := w.approvals()
		_, stderr, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), "-v", "true"))
		if err != nil {
			t.Fatalf("ssh: %v\n%s", err, stderr)
		}
		cert := strings.Index(stderr, "Offering public key: vmux-session-cert")
		phone := strings.Index(stderr, "Offering public key: ecdsa-sha2-nistp256")
		if cert < 0 || phone < cert {
			t.Errorf("want the certificate offered first, then the phone's key:\n%s", stderr)
		}
		if n := w.approvals() - before; n != 1 {
			t.Errorf("the phone approved %d signatures, want 1", n)
		}
	})
}

func TestListingIsExactlyThatOfSSHKeygen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, algorithms...)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		var fingerprints, publics string
		for _, a := range algorithms {
			path := w.publicFile(a)
			fingerprints += o.Keygen(t, "-l", "-f", path)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			publics += string(b)
		}
		if got := o.Add(t, w.computer.socket(), "-l"); got != fingerprints {
			t.Errorf("ssh-add -l:\n%s\nssh-keygen -l:\n%s", got, fingerprints)
		}
		if got := o.Add(t, w.computer.socket(), "-L"); got != publics {
			t.Errorf("ssh-add -L:\n%s\nwant:\n%s", got, publics)
		}
	})
}

func TestCertificateIsListedLastAndReadableBySSHKeygen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	ca := w.requestCertificate()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		lines := strings.Split(strings.TrimSpace(o.Add(t, w.computer.socket(), "-L")), "\n")
		last := lines[len(lines)-1]
		if !strings.HasPrefix(last, "ecdsa-sha2-nistp256-cert-v01@openssh.com ") || !strings.HasSuffix(last, " vmux-session-cert") {
			t.Fatalf("the last identity is %q", last)
		}
		text := o.Keygen(t, "-L", "-f", w.computer.file("cert.pub", last+"\n"))
		caFingerprint := strings.Fields(o.Keygen(t, "-l", "-f", w.computer.file("ca.pub", ca+"\n")))[1]
		for _, want := range []string{
			"user certificate", "Principals:", username(t), "Valid: from ", `Key ID: "vmux:`,
			"Signing CA: ECDSA " + caFingerprint, "permit-pty",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in ssh-keygen -L:\n%s", want, text)
			}
		}
	})
}

func TestFilesTravelByPhoneHeldKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
		sock := w.computer.socket()
		config := server.ClientConfig(t, sock)
		ssh := o.SSH + " -F " + config
		ctx, dir := deadline(t), t.TempDir()
		from := filepath.Join(dir, "from")
		if err := os.WriteFile(from, []byte("carried\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		carried := func(t *testing.T, name string) {
			t.Helper()
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "carried\n" {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
		t.Run("scp", func(t *testing.T) {
			must(t, server.SCP(ctx, t, o, sock, from, sshdtest.Host+":"+filepath.Join(dir, "scp")))
			carried(t, "scp")
		})
		t.Run("sftp", func(t *testing.T) {
			batch := filepath.Join(dir, "batch")
			if err := os.WriteFile(batch, []byte("put "+from+" "+filepath.Join(dir, "sftp")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			must(t, server.SFTP(ctx, t, o, sock, "-b", batch, sshdtest.Host))
			carried(t, "sftp")
		})
		t.Run("rsync", func(t *testing.T) {
			must(t, exec.CommandContext(ctx, "rsync", "-e", ssh, from, sshdtest.Host+":"+filepath.Join(dir, "rsync")))
			carried(t, "rsync")
		})
		t.Run("git", func(t *testing.T) { gitCloneAndPush(t, dir, ssh) })
	})
}

func gitCloneAndPush(t *testing.T, dir, ssh string) {
	git := gitIn(t, dir, "GIT_SSH_COMMAND="+ssh)
	git("init", "--quiet", "--bare", "origin.git")
	git("clone", "--quiet", sshdtest.Host+":"+filepath.Join(dir, "origin.git"), "clone")
	git("-C", "clone", "commit", "--quiet", "--allow-empty", "-m", "first")
	git("-C", "clone", "push", "--quiet", "origin", "HEAD:refs/heads/main")
	local := git("-C", "clone", "rev-parse", "HEAD")
	if pushed := git("--git-dir", "origin.git", "rev-parse", "refs/heads/main"); pushed != local {
		t.Errorf("pushed %s, have %s", pushed, local)
	}
}

// gitIn returns a git that works in dir with a configuration of its own.
func gitIn(t *testing.T, dir string, env ...string) func(args ...string) string {
	return func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(deadline(t), "git", args...)
		cmd.Dir = dir
		cmd.Env = append([]string{
			"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		}, env...)
		return must(t, cmd)
	}
}

func TestAgentForwardingOverTwoHops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	oldSSH, newSSH := sshdtest.Old(t), sshdtest.New(t)
	config := sshdtest.Config{AuthorizedKeys: []string{w.identity("ecdsa-sha2-nistp256").PublicKey}}
	first, second, last := oldSSH.StartServer(t, config), newSSH.StartServer(t, config), oldSSH.StartServer(t, config)
	// On a server, IdentityAgent SSH_AUTH_SOCK is the forwarded agent.
	toSecond := newSSH.SSH + " -A -F " + second.ClientConfig(t, "SSH_AUTH_SOCK") + " " + sshdtest.Host
	toLast := oldSSH.SSH + " -F " + last.ClientConfig(t, "SSH_AUTH_SOCK") + " " + sshdtest.Host
	out := must(t, first.Command(deadline(t), t, oldSSH, w.computer.socket(), "-A", toSecond+" "+toLast+" echo arrived"))
	if out != "arrived\n" {
		t.Errorf("the last hop printed %q", out)
	}
	if n := w.approvals(); n != 3 {
		t.Errorf("the phone approved %d signatures, want 3", n)
	}
}

func TestSSHKeygenSignsAndVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, algorithms...)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		for _, a := range algorithms {
			t.Run(a, func(t *testing.T) {
				signers := w.computer.file("allowed_signers", "me@example.com "+w.identity(a).PublicKey+"\n")
				message := w.computer.file("message", "signed text")
				os.Remove(message + ".sig")
				sign := exec.CommandContext(deadline(t), o.SSHKeygen, "-Y", "sign", "-n", "file", "-f", w.publicFile(a), message)
				sign.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket()}
				must(t, sign)
				verify := exec.CommandContext(deadline(t), o.SSHKeygen, "-Y", "verify", "-n", "file", "-f", signers,
					"-I", "me@example.com", "-s", message+".sig")
				verify.Stdin = strings.NewReader("signed text")
				must(t, verify)
				verify = exec.CommandContext(deadline(t), verify.Path, verify.Args[1:]...)
				verify.Stdin = strings.NewReader("another text")
				if out, _, err := finish(verify); err == nil {
					t.Errorf("a signature of another text verifies: %s", out)
				}
			})
		}
	})
}

func TestGitCommitIsSignedByPhoneHeldKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		dir := t.TempDir()
		git := gitIn(t, dir, "SSH_AUTH_SOCK="+w.computer.socket())
		git("init", "--quiet")
		git("config", "gpg.format", "ssh")
		git("config", "gpg.ssh.program", o.SSHKeygen)
		git("config", "user.signingkey", w.publicFile("ssh-ed25519"))
		git("config", "gpg.ssh.allowedSignersFile",
			w.computer.file("git_signers", "a@example.com "+w.identity("ssh-ed25519").PublicKey+"\n"))
		git("commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
		git("verify-commit", "HEAD")
	})
}
