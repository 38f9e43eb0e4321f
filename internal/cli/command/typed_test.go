package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"vmux/internal/testkit"
)

// deskOf returns an IO at a terminal, the end that a person types at, and what
// has been said.
func deskOf(t *testing.T) (*IO, *os.File, func() string) {
	t.Helper()
	end, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close(); _ = tty.Close() })
	said := &testkit.Output{}
	return &IO{In: tty, Out: said, Err: said}, end, said.String
}

func waitSaid(t *testing.T, said func() string, text string) {
	t.Helper()
	testkit.WaitFor(t, text, func() bool { return strings.Contains(said(), text) })
}

// ^C at a prompt ends it at once, and not at the next Enter: it arrives as the
// end of the context.
func TestSignalEndsAPrompt(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo") // nobody writes to it
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil { // ends those that open it
			_ = f.Close()
		}
	})
	for name, ask := range map[string]func(*IO, context.Context) error{
		"passphrase": func(a *IO, ctx context.Context) error {
			_, err := a.Passphrase(ctx, "", "Passphrase", false)
			return err
		},
		"file": func(a *IO, ctx context.Context) error {
			a.Aside(": ")
			_, err := a.Passphrase(ctx, "-", "Passphrase", false)
			return err
		},
		"passphrase file": func(a *IO, ctx context.Context) error {
			a.Aside(": ")
			_, err := a.Passphrase(ctx, fifo, "Passphrase", false)
			return err
		},
		"named file": func(a *IO, ctx context.Context) error {
			a.Aside(": ")
			_, err := ReadFile(ctx, fifo, 1)
			return err
		},
		"yes": func(a *IO, ctx context.Context) error {
			if a.Confirmed(ctx, "Destroy it?") {
				return errors.New("confirmed by nobody")
			}
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, end, said := deskOf(t)
			ctx, interrupt := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- ask(a, ctx) }()
			waitSaid(t, said, ": ")
			interrupt()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("still asks")
			}
			_, _ = end.WriteString("\n") // ends the read that is left
		})
	}
}

// ssh-keygen takes no passphrase of fewer than five characters, and asks for it
// to be typed anew; and what an arrow, or the frame of what is pasted, adds to one could
// not be typed again.
func TestPassphraseThatIsNotTaken(t *testing.T) {
	for typed, why := range map[string]string{
		"x\n":                               "too short",
		"correct\x1b[D\n":                   "no character",
		"\x1b[200~correct horse\x1b[201~\n": "no character",
	} {
		a, end, said := deskOf(t)
		done := make(chan error, 1)
		go func() {
			_, err := a.Passphrase(t.Context(), "", "New passphrase", true)
			done <- err
		}()
		waitSaid(t, said, "New passphrase: ")
		_, _ = end.WriteString(typed)
		if err := <-done; err == nil || !strings.Contains(err.Error(), why) || HintOf(err) == "" {
			t.Errorf("%q: %v", typed, err)
		}
		if strings.Contains(said(), "The same again") {
			t.Errorf("%q was taken", typed)
		}
	}
}
