//go:build linux || darwin

package terminal

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/term"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// A phone that is stopped by ^Z in the midst of a question and goes on with fg has the
// terminal in the shell's mode, which shows what is typed: not the passphrase.
func TestPassphraseIsNotShownAfterAStop(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	fd := int(terminal.tty.(*File).tty.Fd())
	shells, err := term.GetState(fd)
	if err != nil {
		t.Fatal(err)
	}
	mode := func() *term.State {
		state, err := term.GetState(fd)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	a := terminal.Approver(nil)
	stopped := func() {
		t.Helper()
		if err := term.Restore(fd, shells); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "single keys again", func() bool { return !reflect.DeepEqual(mode(), shells) })
	}
	c := asks(t.Context(), a, sheet("laptop", 60*time.Second))
	p.sees(" s left")
	stopped()
	p.keepsTyping("y", func() bool { return len(c) > 0 })
	typed := make(chan string, 1)
	go func() {
		b, _ := a.Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), Attempt: 1})
		typed <- string(b)
	}()
	p.sees("Passphrase of work: ")
	stopped()
	p.types("\x15secret\n")
	if got := <-typed; got != "secret" || strings.Contains(p.screen(), "secret") {
		t.Errorf("typed %q:\n%s", got, p.screen())
	}
}
