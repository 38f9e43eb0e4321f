package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// With `AddKeysToAgent yes`, which many have in their configuration, ssh offers the
// agent each key file that it logs in with, and does without. That is no failure that
// anybody wants to read of, nor is what a host does that the agent is forwarded to.
func TestAddKeysToAgentIsNoFailure(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.startAgent()
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			key := t.TempDir() + "/key"
			if out, err := exec.CommandContext(deadline(t), o.SSHKeygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			public, err := exec.CommandContext(deadline(t), o.SSHKeygen, "-y", "-f", key).Output()
			if err != nil {
				t.Fatal(err)
			}
			server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}})
			run := func(args ...string) {
				t.Helper()
				if out, errs, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), args...)); err != nil {
					t.Fatalf("ssh %q: %v\n%s%s", args, err, out, errs)
				}
			}
			run("-i", key, "-o", "AddKeysToAgent=yes", "true")
			run("-i", key, "-A", o.SSHAdd+" -q "+key+" && exit 1; true")
			if r := w.computer.try("status"); strings.Contains(r.stderr, "takes no keys") {
				t.Errorf("vmux status after a login:\n%s", r.stderr)
			}
		})
	}
	key := t.TempDir() + "/key"
	if out, err := exec.CommandContext(deadline(t), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	add := w.computer.commandOf(deadline(t), "ssh-add", key)
	add.Env = append(add.Env, "SSH_AUTH_SOCK="+w.computer.socket())
	if _, _, err := finish(add); err == nil {
		t.Error("the agent took a key")
	}
	w.waitStatus("takes no keys") // a person is told
}

// ssh-add -d of the certificate's file does what -D does; of a phone's key it says why not.
func TestRemovedByItsFileTheCertificateIsDestroyedAndAPhonesKeyStays(t *testing.T) {
	t.Parallel()
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			w := newWorld(t, "ecdsa-sha2-nistp256")
			w.requestCertificate()
			key := w.identity("ecdsa-sha2-nistp256")
			remove := w.computer.commandOf(deadline(t), o.SSHAdd, "-d", w.computer.file("phone.pub", key.PublicKey))
			remove.Env = append(remove.Env, "SSH_AUTH_SOCK="+w.computer.socket())
			if _, _, err := finish(remove); err == nil {
				t.Error("ssh-add -d has removed a phone's key")
			}
			w.waitStatus("A phone holds that key: ssh-add cannot remove it. (removeRefused)")
			o.Add(t, w.computer.socket(), "-d", filepath.Join(w.computer.dir, "vmux-session-cert.pub"))
			list := o.Add(t, w.computer.socket(), "-l")
			if strings.Contains(list, "vmux-session-cert") || !strings.Contains(list, key.Fingerprint) {
				t.Errorf("listed after ssh-add -d: %s", list)
			}
			w.waitStatus("No session certificate")
		})
	}
}
