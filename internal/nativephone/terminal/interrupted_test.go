//go:build linux || darwin

package terminal

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/wire"
)

// Whoever types without a pause means something else: each key that comes in the
// inert time begins it anew.
func TestTypingWithoutAPauseApprovesNothing(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	terminal.inert = 3 * time.Second
	c := asks(t.Context(), terminal.Approver([]byte("x")), sheet("laptop", 60*time.Second))
	p.sees(" s left")
	for range 4 { // longer than the inert time, all in all
		p.types("y")
		p.pauses(time.Second)
	}
	p.types("y")
	p.pauses(time.Second)
	unanswered(t, c, "answered")
	p.pauses(terminal.inert)
	p.types("n")
	if a := get(t, c); a.approved || a.err != nil {
		t.Errorf("denied with n: %v, %v", a.approved, a.err)
	}
}

// The passphrase of a request is being typed when the computer withdraws it and
// asks for another: what is left of it, with any y that is in it, approves
// nothing, is no other key's passphrase, and does not appear on the screen.
func TestRestOfAPassphraseApprovesNothing(t *testing.T) {
	t.Parallel()
	for _, interrupted := range []string{"withdrawn", "expired"} {
		t.Run(interrupted, func(t *testing.T) {
			terminal, p := sitDown(t)
			a := terminal.Approver(nil)
			ctx, end := context.WithCancel(t.Context())
			ends := "Withdrawn: "
			if interrupted == "expired" {
				ends = "Expired: "
				ctx, end = context.WithTimeout(t.Context(), 5*time.Second)
			}
			defer end()
			asked := make(chan error, 1)
			go func() {
				_, err := a.Passphrase(ctx, signer.PassphraseRequest{Label: wire.Clean("work"), Attempt: 1})
				asked <- err
			}()
			p.sees("Passphrase of work: ")
			p.types("m")
			if interrupted == "withdrawn" {
				end()
			}
			if err := <-asked; err == nil {
				t.Fatal("a passphrase of one letter")
			}
			c := asks(t.Context(), a, sheet("desktop", 60*time.Second))
			p.sees(ends)
			for range 4 { // as slowly as a sheet takes keys
				p.types("y")
				p.pauses(inert + 200*time.Millisecond)
			}
			unanswered(t, c, "answered by the passphrase")
			if s := p.screen(); strings.Contains(s, "yy") {
				t.Errorf("the passphrase is on the screen:\n%s", s)
			}
			p.types("y\ny")
			p.sees("desktop asks")
			p.pauses(inert + 200*time.Millisecond)
			unanswered(t, c, "answered by the line that Enter ended")
			p.keepsTyping("n", func() bool { return len(c) > 0 })
			if got := get(t, c); got.approved || got.err != nil {
				t.Errorf("denied with n: %+v", got)
			}
		})
	}
}

// Nobody may be at the terminal: silence does for Enter. The terminal is given
// back only then, since it would show what is typed.
func TestSilenceAfterAnInterruption(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	a := terminal.Approver(nil)
	ctx, withdraw := context.WithCancel(t.Context())
	go func() { _, _ = a.Passphrase(ctx, signer.PassphraseRequest{Label: wire.Clean("work"), Attempt: 1}) }()
	p.sees("Passphrase of work: ")
	withdraw()
	p.sees("Withdrawn: ")
	p.pauses(silence + inert) // somebody who has looked for the passphrase meanwhile
	p.types("secret")
	p.pauses(300 * time.Millisecond)
	if strings.Contains(p.screen(), "secret") {
		t.Error("the rest of a passphrase is on the screen")
	}
	c := asks(t.Context(), a, sheet("desktop", 60*time.Second))
	p.sees("desktop asks")
	p.keepsTyping("y", func() bool { return len(c) > 0 })
	if got := get(t, c); !got.approved {
		t.Errorf("approved with y: %+v", got)
	}
}

// A request is withdrawn between its approval and its passphrase, which the
// person has begun to type.
func TestPassphraseThatIsNotAskedForApprovesNothing(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	a := terminal.Approver(nil)
	first := asks(t.Context(), a, sheet("laptop", 60*time.Second))
	p.sees("laptop asks")
	p.keepsTyping("y", func() bool { return len(first) > 0 })
	second := asks(t.Context(), a, sheet("desktop", 60*time.Second))
	for range 4 {
		p.types("y")
		p.pauses(inert + 200*time.Millisecond)
	}
	unanswered(t, second, "answered by a passphrase that was not asked for")
	p.types("\n")
	p.sees("desktop asks")
	p.keepsTyping("n", func() bool { return len(second) > 0 })
}

// The computer chooses the ID of a request. One that takes that of another's
// does not get the passphrase that was typed for it.
func TestPassphraseOfAGroupIsOneComputers(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	approver := terminal.Approver(nil)
	var approved []chan answer
	for n := 1; n <= 2; n++ {
		s := sheet("laptop", 60*time.Second)
		s.RequestID, s.Known.User = fmt.Sprint(n), fmt.Sprintf("user%d", n)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		approved = append(approved, asks(ctx, approver, s))
		p.sees(fmt.Sprintf("user%d@db1", n))
	}
	p.keepsTyping("y", func() bool { return len(approved[0]) > 0 })
	get(t, approved[1])
	type typed struct {
		secret string
		err    error
	}
	pass := func(from device.ID) chan typed {
		c := make(chan typed, 1)
		go func() {
			b, err := approver.Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), RequestID: "1", From: from, Attempt: 1})
			c <- typed{string(b), err}
		}()
		return c
	}
	own := pass(device.ID{'l'})
	p.sees("Passphrase of work: ")
	p.types("the laptop's\n")
	if got := <-own; got.secret != "the laptop's" || got.err != nil {
		t.Fatalf("%+v", got)
	}
	other := pass(device.ID{'e'})
	waitFor(t, "the other's question", func() bool { return strings.Count(p.screen(), "Passphrase of work: ") > 1 || len(other) > 0 })
	p.types("the other's\n")
	if got := <-other; got.secret != "the other's" || got.err != nil {
		t.Errorf("another computer's request of the same ID: %+v", got)
	}
}
