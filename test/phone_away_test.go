package test

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// The phone is switched off and the computer restarted: the keys are still
// listed, a login fails in time, and `vmux status` says why.
func TestPhoneOutOfRange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256", "ssh-ed25519")
	o := sshdtest.Old(t)
	before := o.Add(t, w.computer.socket(), "-l")
	w.phoneRun.stop()
	w.agent.stop()
	w.startAgent()
	if after := o.Add(t, w.computer.socket(), "-l"); after != before {
		t.Errorf("listed without the phone:\n%s\nwith it:\n%s", after, before)
	}
	w.waitStatus("Phone not connected")

	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	start := time.Now()
	_, stderr, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), "true"))
	if err == nil {
		t.Fatal("logged in without the phone")
	}
	if took := time.Since(start); took > 60*time.Second {
		t.Errorf("ssh failed after %v, want within the window of 60 s", took)
	}
	if !strings.Contains(stderr, "Permission denied") {
		t.Errorf("ssh says %q", stderr)
	}
	w.waitStatus("not reachable")
	if r := w.computer.try("cert", "request"); r.exit != 3 || !strings.Contains(r.stderr, "hint:") {
		t.Errorf("cert request without the phone: exit %d, %q; want 3 and a hint", r.exit, r.stderr)
	}

	w.startPhone()
	w.waitConnected()
	must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))
}

func TestCertificateLogsInWithoutThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	ca := w.requestCertificate()
	w.phoneRun.stop()
	w.waitStatus("Phone not connected")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{ca}})
		must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))
	})
}

// The private half lives in memory alone: a restarted agent has no certificate.
func TestCertificateEndsWithTheAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	w.requestCertificate()
	w.agent.kill()
	w.startAgent()
	w.waitStatus("No session certificate")
	if list := sshdtest.Old(t).Add(t, w.computer.socket(), "-l"); strings.Contains(list, "vmux-session-cert") {
		t.Errorf("still listed: %s", list)
	}
}

func TestRemoveAllDestroysTheCertificateAndKeepsThePhonesKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ecdsa-sha2-nistp256")
	w.requestCertificate()
	o := sshdtest.Old(t)
	o.Add(t, w.computer.socket(), "-D")
	list := o.Add(t, w.computer.socket(), "-l")
	if strings.Contains(list, "vmux-session-cert") || !strings.Contains(list, w.identity("ecdsa-sha2-nistp256").Fingerprint) {
		t.Errorf("listed after ssh-add -D: %s", list)
	}
}
