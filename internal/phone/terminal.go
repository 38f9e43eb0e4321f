package phone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// inert is how long a sheet takes no answer: what was typed for something else
// must not approve it.
const inert = 500 * time.Millisecond

// Terminal asks a person at a terminal, one sheet after the other.
type Terminal struct {
	out      io.Writer
	lines    chan typed
	hideEcho func() (restore func(), err error)

	mu      sync.Mutex // held while something is asked
	waiting atomic.Int32
}

type typed struct {
	text string
	at   time.Time
}

// NewTerminal returns an approver that reads lines from in, which it owns from
// now on, and writes sheets to out. HideEcho keeps what is typed off the screen;
// it is nil where in is no terminal.
func NewTerminal(in io.Reader, out io.Writer, hideEcho func() (func(), error)) *Terminal {
	t := &Terminal{out: out, lines: make(chan typed), hideEcho: hideEcho}
	go t.read(in)
	return t
}

// read ends with its input: a blocked read of a terminal cannot be interrupted,
// so this goroutine may outlive the Terminal until the process ends.
func (t *Terminal) read(in io.Reader) {
	defer close(t.lines)
	for s := bufio.NewScanner(in); s.Scan(); {
		t.lines <- typed{s.Text(), time.Now()}
	}
}

// Approver returns the functions that ask.
func (t *Terminal) Approver() signer.Approver {
	return signer.Approver{Sign: t.sign, Certificate: t.certificate, Passphrase: t.passphrase}
}

func (t *Terminal) sign(ctx context.Context, s signer.SignSheet) (bool, error) {
	lines := []string{"Key      " + s.Label + "  " + s.Fingerprint, "What     " + s.What() + "  (" + quality(s.Quality) + ")"}
	if s.Claimed.HostName != "" {
		lines = append(lines, "Host     "+wire.Show(s.Claimed.HostName)+"  (the computer says so)")
	}
	if len(s.Claimed.Programs) > 0 {
		lines = append(lines, "Program  "+wire.Show(strings.Join(s.Claimed.Programs, " ← "))+"  (the computer says so)")
	}
	return t.ask(ctx, "Signature request", s.Sheet, lines)
}

func quality(q wire.ContextQuality) string {
	switch q {
	case wire.QualityVerified:
		return "verified: it stands in the signed bytes"
	case wire.QualityClaimed:
		return "the server is not known; the rest is what the computer says"
	}
	return "nothing else is known"
}

func (t *Terminal) certificate(ctx context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
	lines := []string{
		"For      " + s.Label,
		"Logs in  as " + wire.Show(strings.Join(s.Principals, ", ")) + ", without asking again",
		"Valid    " + s.Validity.String(),
	}
	if s.Automatic {
		lines = append(lines, "Asked    by the computer itself: nobody pressed a button there")
	}
	approved, err := t.ask(ctx, "Session certificate request", s.Sheet, lines)
	return signer.CertificateDecision{Approved: approved}, err
}

func (t *Terminal) ask(ctx context.Context, title string, s signer.Sheet, lines []string) (bool, error) {
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	s.Shown() // in the count of those that wait, if not on top
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	fmt.Fprintf(t.out, "\n== %s ==\nFrom     %s  (device %s)\n%s\n", title, wire.Show(s.From.Name), s.From.ID.Short(), strings.Join(lines, "\n"))
	if more := t.waiting.Load() - 1; more > 0 {
		fmt.Fprintf(t.out, "         %d more waiting\n", more)
	}
	answer, err := t.prompt(ctx, s.Expires)
	if err != nil {
		return false, err
	}
	if answer {
		fmt.Fprintln(t.out, "Approved.")
	} else {
		fmt.Fprintln(t.out, "Denied.")
	}
	return answer, nil
}

// prompt counts the seconds down until a line comes that was typed after the
// sheet could be read.
func (t *Terminal) prompt(ctx context.Context, expires time.Time) (bool, error) {
	ready := time.Now().Add(inert)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		left := max(0, time.Until(expires).Round(time.Second)/time.Second)
		fmt.Fprintf(t.out, "\rApprove? [y/N] (%2d s left) ", left)
		select {
		case line, ok := <-t.lines:
			if !ok {
				return false, nil // nobody is there who could approve
			}
			if line.at.Before(ready) {
				continue
			}
			answer := strings.ToLower(strings.TrimSpace(line.text))
			return answer == "y" || answer == "yes", nil
		case <-tick.C:
		case <-ctx.Done():
			return false, t.over(ctx)
		}
	}
}

func (t *Terminal) over(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		fmt.Fprintln(t.out, "\nExpired: nothing was signed.")
	} else {
		fmt.Fprintln(t.out, "\nWithdrawn by the computer: nothing was signed.")
	}
	return ctx.Err()
}

func (t *Terminal) passphrase(ctx context.Context, r signer.PassphraseRequest) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Attempt > 1 {
		fmt.Fprintln(t.out, "Wrong passphrase.")
	}
	if t.hideEcho != nil {
		restore, err := t.hideEcho()
		if err != nil {
			return nil, wire.Errorf(wire.CodeAuthenticationFailed, "the phone's terminal cannot hide what is typed")
		}
		defer restore()
	}
	fmt.Fprintf(t.out, "Passphrase for %s: ", r.Label)
	defer fmt.Fprintln(t.out)
	select {
	case line, ok := <-t.lines:
		if !ok {
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		return []byte(line.text), nil
	case <-ctx.Done():
		return nil, t.over(ctx)
	}
}

// Always approves everything and answers with the one passphrase: for tests and
// demonstrations only. It says what it approves through say.
func Always(passphrase []byte, say func(string)) signer.Approver {
	return signer.Approver{
		Sign: func(_ context.Context, s signer.SignSheet) (bool, error) {
			s.Shown()
			say("approved by itself: " + s.What() + ", key " + s.Label + ", for " + wire.Show(s.From.Name))
			return true, nil
		},
		Certificate: func(_ context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
			s.Shown()
			say("approved by itself: session certificate for " + wire.Show(s.From.Name) + ", " + s.Validity.String())
			return signer.CertificateDecision{Approved: true}, nil
		},
		Passphrase: WithPassphrase(passphrase),
	}
}

// WithPassphrase answers with one passphrase, once for each signature: a wrong
// one does not become right by being tried again.
func WithPassphrase(passphrase []byte) func(context.Context, signer.PassphraseRequest) ([]byte, error) {
	return func(_ context.Context, r signer.PassphraseRequest) ([]byte, error) {
		if r.Attempt > 1 {
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		return append([]byte{}, passphrase...), nil // the caller wipes it
	}
}
