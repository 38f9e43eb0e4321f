package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// With `IdentitiesOnly yes`, ssh uses the session certificate once IdentityFile
// names the file that the agent keeps. The file goes with the certificate.
func TestCertificateFileWithIdentitiesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	config := sshdtest.Config{TrustedUserCAKeys: []string{w.requestCertificate()}}
	path := filepath.Join(w.computer.dir, "vmux-session-cert.pub")
	exists := func() bool { _, err := os.Stat(path); return err == nil }
	waitFor(t, "the certificate's file", exists)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, config)
		ssh := func(args ...string) error {
			args = append([]string{"-o", "IdentitiesOnly=yes"}, args...)
			_, _, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), append(args, "true")...))
			return err
		}
		if ssh("-o", "IdentityFile=none") == nil {
			t.Error("ssh uses the certificate though nothing names it")
		}
		if err := ssh("-o", "IdentityFile="+path); err != nil {
			t.Errorf("IdentityFile: %v", err)
		}
	})
	if n := w.approvals(); n != 0 {
		t.Errorf("the phone approved %d signatures", n)
	}
	sshdtest.Old(t).Add(t, w.computer.socket(), "-D")
	waitFor(t, "the end of the certificate's file", func() bool { return !exists() })
}

// A CA of somebody else's (a company's, Vault's, step-ca's) certifies a phone-held key. The
// certificate is a file: ssh logs in by it, and ssh-keygen and git sign with it, by the phone.
func TestCertificateOfAnotherCA(t *testing.T) {
	t.Parallel()
	algorithms := []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"}
	w := newWorld(t, algorithms...)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		dir := t.TempDir()
		ca, text, signers := filepath.Join(dir, "ca"), filepath.Join(dir, "text"), filepath.Join(dir, "signers")
		o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", ca)
		line, err := os.ReadFile(ca + ".pub")
		if err == nil {
			err = os.WriteFile(signers, append([]byte("zoe@example.com cert-authority "), line...), 0o600)
		}
		if err == nil {
			err = os.WriteFile(text, []byte("text\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		server := o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{string(line)}})
		for _, algorithm := range algorithms {
			key := filepath.Join(dir, algorithm+".pub")
			if err := os.WriteFile(key, []byte(w.identity(algorithm).PublicKey+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			o.Keygen(t, "-q", "-s", ca, "-I", "zoe", "-n", server.User+",zoe@example.com", key)
			cert := filepath.Join(dir, algorithm+"-cert.pub")
			before := w.approvals()
			must(t, server.Command(deadline(t), t, o, w.computer.socket(), "-o", "IdentitiesOnly=yes", "-i", key, "-o", "CertificateFile="+cert, "true"))
			sign := w.computer.commandOf(deadline(t), o.SSHKeygen, "-q", "-Y", "sign", "-n", "file", "-f", cert, text)
			sign.Env = append(sign.Env, "SSH_AUTH_SOCK="+w.computer.socket())
			must(t, sign)
			verify := w.computer.commandOf(deadline(t), o.SSHKeygen, "-Y", "verify", "-n", "file", "-f", signers, "-I", "zoe@example.com", "-s", text+".sig")
			verify.Stdin = strings.NewReader("text\n")
			must(t, verify)
			if err := os.Remove(text + ".sig"); err != nil {
				t.Fatal(err)
			}
			if n := w.approvals() - before; n != 2 {
				t.Errorf("%s: the phone was asked %d times, want 2", algorithm, n)
			}
		}
		r := w.repository(o.Name)
		r.computer.run("git", "setup", "--key", "ssh-ed25519")
		r.git("-c", "user.signingkey="+filepath.Join(dir, "ssh-ed25519-cert.pub"), "-c", "gpg.ssh.allowedSignersFile="+signers, "commit", "-qS", "--allow-empty", "-m", "certified")
		if out := r.git("-c", "gpg.ssh.allowedSignersFile="+signers, "verify-commit", "HEAD"); !strings.Contains(out, `Good "git" signature for zoe@example.com`) {
			t.Errorf("git says:\n%s", out)
		}
		records := w.records()
		if got := records[len(records)-1].says("subject"); got != "certified (claimed)" {
			t.Errorf("the phone showed the subject %q", got)
		}
	})
}
