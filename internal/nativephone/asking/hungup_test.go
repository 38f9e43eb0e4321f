package asking

import (
	"strings"
	"testing"

	"vmux/internal/nativephone/terminal"
)

// A phone whose own terminal has hung up, after nohup, is one without: its requests wait for
// one to be attached, the desktop is told how, and it is asked again where that comes back.
func TestOwnTerminalHangsUp(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	own := &person{t: t, left: true}
	at := terminal.New(own)
	p.terminals.Own(at)
	t.Cleanup(at.Close)
	answer := p.asks(t.Context(), "root")
	own.sees("A request waits, and cannot be asked here: the terminal is gone: EOF.")
	if p.terminals.Asked() {
		t.Error("it asks though its terminal has hung up")
	}
	other, leave := p.attach()
	other.sees("laptop asks: ")
	if !p.terminals.Asked() {
		t.Error("it does not ask where a terminal was attached")
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	own.mu.Lock()
	own.left = false
	own.mu.Unlock()
	own.answers("y", func() bool { return strings.Contains(own.screen(), "Passphrase of work: ") })
	own.types("\x15secret\n")
	p.gets(answer, "typed secret")
	if !p.terminals.Asked() {
		t.Error("it does not ask though its terminal is back")
	}
}
