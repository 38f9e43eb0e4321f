package test

import (
	"strings"
	"testing"
)

// A command that is stopped at the question for a passphrase (^Z) and goes on with fg, in the
// mode that the shell has set meanwhile, shows nothing of the passphrase either.
func TestStoppedCommandHidesThePassphrase(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	own := h.openTerminal(80, 24, "env PS1='ready> ' bash --norc -i")
	own.shows("ready>")
	own.tmux("send-keys", vmux(t)+" phone identity create --label work", "Enter")
	own.shows("New passphrase for work:")
	own.tmux("send-keys", "C-z")
	own.shows("Stopped")
	own.tmux("send-keys", "clear; fg", "Enter")
	own.shows("New passphrase for work:")
	own.tmux("send-keys", "dark horses", "Enter")
	own.shows("The same again:")
	own.tmux("send-keys", "dark horses", "Enter")
	own.shows("ready>")
	if drawn := own.screen(); strings.Contains(drawn, "horses") || !strings.Contains(drawn, "ecdsa-sha2-nistp256 ") {
		t.Errorf("after fg:\n%s", drawn)
	}
}
