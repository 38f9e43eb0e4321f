package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// ssh-copy-id without -i installs all that `ssh-add -L` prints. The session
// certificate would stand in authorized_keys for ever, and is listed to everybody
// else.
func TestSSHCopyIDLeavesTheCertificateOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519", "ecdsa-sha2-nistp256")
	ca := w.requestCertificate()
	home := t.TempDir() // of the account on the server
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{ca}, Extra: []string{"SetEnv HOME=" + home}})
	if err := os.MkdirAll(filepath.Join(w.computer.dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := server.ClientConfig(t, w.computer.socket())
	run := func(args ...string) string {
		t.Helper()
		cmd := w.computer.commandOf(deadline(t), args[0], args[1:]...)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+w.computer.socket())
		out, errs, err := finish(cmd)
		if err != nil {
			t.Fatalf("%v: %v\n%s%s", args, err, out, errs)
		}
		return out
	}
	path, err := exec.LookPath("ssh-copy-id")
	if err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	for _, args := range [][]string{
		{path, "-f", "-F", config, sshdtest.Host},
		{path, "-F", config, sshdtest.Host},
		{"sh", path, "-f", "-F", config, sshdtest.Host},
		{"sh", "-c", `"$0" -f -F "$1" "$2"; exit $?`, path, config, sshdtest.Host},
	} {
		run(args...)
		file := filepath.Join(home, ".ssh", "authorized_keys")
		installed, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v installed nothing: %v", args, err)
		}
		if strings.Contains(string(installed), "-cert-v01@") {
			t.Errorf("%v installed the certificate:\n%s", args, installed)
		}
		for _, label := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256"} {
			if !strings.Contains(string(installed), strings.Fields(w.identity(label).PublicKey)[1]) {
				t.Errorf("%v did not install %s:\n%s", args, label, installed)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	// Who only mentions it is not it.
	script := w.computer.file("list", "ssh-add -L\n")
	for _, args := range [][]string{
		{"ssh-add", "-L"}, {"sh", "-c", "ssh-add -L; exit $?"}, {"sh", script, "ssh-copy-id"}, {"env", "ssh-add", "-L"},
	} {
		if out := run(args...); !strings.Contains(out, "-cert-v01@") || !strings.Contains(out, " vmux-session-cert") {
			t.Errorf("%v does not list the certificate:\n%s", args, out)
		}
	}
}
