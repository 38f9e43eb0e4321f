package test

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// A terminal that nobody can be asked at keeps no request from being asked elsewhere: one
// that was stopped by ^S, as one over a connection that is dead takes nothing either; the
// stopped program of an attached one; and the phone's own, while the phone is a job in
// the background, which is not stopped by the shell.
func TestTerminalsThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	own := w.phone.openTerminal(80, 24, "env PS1='ready> ' bash --norc -i")
	own.shows("ready>")
	own.tmux("send-keys", vmux(t)+" phone run --listen 127.0.0.1:0 --passphrase-file "+w.passphraseFile, "Enter")
	own.shows("vmux: Advertising")
	w.startAgent("--approval-timeout", "100s")
	w.pair()
	o := sshdtest.Old(t)
	prod := w.server(o)
	approves := func() {
		t.Helper()
		typed, before := time.Now(), strings.Count(own.screen(), "Approved.")
		waitFor(t, "the answer", func() bool {
			if time.Since(typed) > time.Second { // one that came too soon makes it wait longer
				own.tmux("send-keys", "y")
				typed = time.Now()
			}
			return strings.Count(own.screen(), "Approved.") > before
		})
	}

	own.tmux("send-keys", "C-s")
	done := w.logsIn(o, prod)
	stopping := w.phone.command(t.Context(), "phone", "attach")
	elsewhere := onTerminal(t, stopping)
	elsewhere.waitCount("Approved.", 1, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	own.tmux("send-keys", "C-q")

	if err := stopping.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	done = w.logsIn(o, prod)
	own.shows("The other terminal was detached: this one is asked again.")
	own.shows("y/n/m]   ")
	approves()
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	if err := stopping.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	elsewhere.waitCount("vmux: the phone asks no more at this terminal", 1, "")

	own.tmux("send-keys", "C-z")
	own.shows("Stopped")
	own.tmux("send-keys", "clear; bg", "Enter")
	w.waitConnected()
	done = w.logsIn(o, prod)
	own.shows("A request waits, and cannot be asked here: ")
	own.tmux("send-keys", "clear; jobs", "Enter")
	own.shows("Running")
	if drawn := own.screen(); regexp.MustCompile(`Stopped|asks: `).MatchString(drawn) {
		t.Errorf("in the background:\n%s", drawn)
	}
	own.tmux("send-keys", "fg", "Enter")
	own.shows("y/n/m]   ")
	approves()
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	own.tmux("send-keys", "C-c")
	own.tmux("send-keys", "echo shell $((40 + 2))", "Enter")
	own.shows("shell 42")
}
