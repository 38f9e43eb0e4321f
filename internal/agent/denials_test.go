//go:build linux

package agent

import (
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// unattended starts a process without a terminal, as autossh's ssh is.
func unattended(t *testing.T, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// A program that connects anew after a denial is a new process with a new
// session: the same parent, key and destination tell that it is a retry.
func TestDeniedOncePerRetryingProgram(t *testing.T) {
	first, again := unattended(t, "sleep", "600"), unattended(t, "sleep", "600")
	elsewhere := unattended(t, "sleep", "601")
	hop := func(host string, forwarding bool) []sshctx.Binding {
		return []sshctx.Binding{{HostKey: []byte(host), Forwarding: forwarding}}
	}
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, denies)
		w.connect(p)
		synctest.Wait()
		asked := 0
		for i, step := range []struct {
			name     string
			pid      int
			bindings []sshctx.Binding
			after    time.Duration
			asks     bool
		}{
			{name: "the first attempt", pid: first, asks: true},
			{name: "its retry", pid: again},
			{name: "another command line", pid: elsewhere, asks: true},
			{name: "a bound session", pid: first, bindings: hop("host", false), asks: true},
			{name: "its retry with another command line", pid: elsewhere, bindings: hop("host", false)},
			{name: "another server", pid: again, bindings: hop("other", false), asks: true},
			{name: "a forwarded agent", pid: again, bindings: hop("host", true), asks: true},
			{name: "the forwarded agent again", pid: again, bindings: hop("host", true), asks: true},
			{name: "an unknown process", asks: true},
			{name: "the unknown process again", asks: true},
			{name: "a retry within the minute", pid: again, after: 59 * time.Second},
			{name: "a retry after it", pid: again, after: 2 * time.Second, asks: true},
		} {
			time.Sleep(step.after)
			r := request(key, "session "+time.Duration(i).String())
			r.Peer, r.Bindings = sshagent.Peer{PID: step.pid}, step.bindings
			for i := range r.Bindings {
				if !r.Bindings[i].Forwarding {
					r.Bindings[i].SessionID = describe(r.Data).SessionID
				}
			}
			if _, err := w.Sign(t.Context(), r); wire.CodeOf(err) != wire.CodeUserDenied {
				t.Errorf("%s: %v", step.name, err)
			}
			if step.asks {
				asked++
			}
			if n := len(p.requests()); n != asked {
				t.Fatalf("%s: asked %d times, want %d", step.name, n, asked)
			}
		}
		if h := w.Status().History; h[0].Code != wire.CodeUserDenied {
			t.Errorf("history %+v", h[0])
		}
	})
}
