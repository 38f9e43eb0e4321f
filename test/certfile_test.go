package test

import (
	"os"
	"path/filepath"
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
