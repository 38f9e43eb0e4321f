package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vmux/internal/config"
	"vmux/internal/control"
	"vmux/internal/errorstream"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// This file owns the output of every command. Its rules:
//
//   - Standard output carries the answer and nothing else, so that it can be
//     piped: the answer is what the command was asked for.
//   - Words for people go to standard error, each line behind `vmux: `.
//   - A failure is one `vmux: ` line that says what happened, then, if there is
//     something to do about it, one `hint: ` line with the next command.
//   - With --json each answer is one JSON value on one line. Fields are added,
//     never renamed or removed. Failures stay words on standard error, and the
//     exit status tells them apart: see ExitOf.
//   - A program that goes on running logs to standard error in slog's text form.
//   - No colours, no cursor movements: what is printed means the same in a
//     terminal, a pipe and a log. Only status --watch takes over a terminal, and
//     a table may be what is a list in a pipe.
//   - What another device or a file named is shown through wire.Show, so that it
//     cannot write to the terminal what it likes.
//   - Nothing secret is printed, but for the one-time invitation, which is made
//     to be shown, and a key that its owner exports.

// IO is what every command works with: the process's standard streams, each of
// which is a terminal only if it is an *os.File, and whether to answer in JSON.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	// JSON is the --json flag of the command that runs.
	JSON bool

	mu     sync.Mutex // one line is written as a whole
	stream *errorstream.Stream
}

// GoOn has nobody wait for standard error from now on: the program that runs is one that
// goes on. So it is for libraries that have a word to say, as zeroconf does of a network.
func (o *IO) GoOn() {
	o.stream = errorstream.New(o.Err)
	o.Err = o.stream
	log.SetOutput(o.stream)
}

// Close writes what standard error has not taken yet, if it takes it.
func (o *IO) Close() {
	if o.stream != nil {
		o.stream.Close()
	}
}

// Line writes one line of the answer.
func (o *IO) Line(format string, args ...any) error {
	return o.write(o.Out, fmt.Sprintf(format, args...)+"\n")
}

// Text writes a piece of the answer as it is, lines and all.
func (o *IO) Text(s string) error { return o.write(o.Out, s) }

// Value writes one JSON value of the answer as one line. It is for no web page:
// the & of an invitation stays readable.
func (o *IO) Value(v any) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return o.write(o.Out, b.String())
}

// Answer writes v with --json, and otherwise calls text, which writes lines.
func (o *IO) Answer(v any, text func() error) error {
	if o.JSON {
		return o.Value(v)
	}
	return text()
}

// Columns is how wide the terminal is on which the answer is read; 0 if that is none.
func (o *IO) Columns() int {
	f, ok := Terminal(o.Out)
	if !ok {
		return 0
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return usualColumns
}

// usualColumns is the width of a terminal that does not say its own.
const usualColumns = 80

// Say writes words for people, one `vmux: ` line for each line of the text.
// Whoever reads the answer does not read these, so losing one is no failure.
func (o *IO) Say(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("vmux: "+line, " ") + "\n")
	}
	_ = o.write(o.Err, b.String())
}

// Hint writes what to do next.
func (o *IO) Hint(format string, args ...any) {
	_ = o.write(o.Err, "hint: "+fmt.Sprintf(format, args...)+"\n")
}

// Aside writes to standard error as it is: a QR code, a prompt, a help text.
func (o *IO) Aside(s string) { _ = o.write(o.Err, s) }

// Logs is where a log is written: standard error, each record as a whole.
func (o *IO) Logs() io.Writer { return logWriter{o} }

type logWriter struct{ *IO }

func (w logWriter) Write(b []byte) (int, error) { return len(b), w.write(w.Err, string(b)) }

// Fail tells how a command failed, with the hint, and returns the exit status. A
// program that this one stands for has told its failure itself.
func (o *IO) Fail(ctx context.Context, cmd *cobra.Command, err error) int {
	exit, hint := ExitOf(err), HintOf(err)
	if _, ok := err.(*usageError); ok && hint == "" {
		hint = cmd.CommandPath() + " --help"
	}
	var program *exitError
	switch {
	case ctx.Err() != nil && exit == wire.ExitFailed:
		o.Say("%s: interrupted", cmd.CommandPath()) // by a signal
		return exit
	case errors.As(err, &program):
		return exit
	}
	o.Say("%s", Sentence(err))
	if hint != "" {
		o.Hint("%s", hint)
	}
	return exit
}

func (o *IO) write(w io.Writer, s string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// usageError is a command used wrongly: nothing was done, exit status 2.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

func (e *usageError) Hint() string { return e.hint }

// Usage is wrong usage, with what would be right.
func Usage(text, hint string) error { return &usageError{text, hint} }

// Usagef is wrong usage whose hint is the --help of the command that runs.
func Usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// exitError is the status of a program that this one stands for, which has said
// itself what there is to say.
type exitError struct{ status int }

func (e *exitError) Error() string { return fmt.Sprintf("ended with status %d", e.status) }

// Exit ends the program with that status, and says nothing more.
func Exit(status int) error { return &exitError{status} }

// WithHint adds to an error what to do about it: a command, or a short sentence.
func WithHint(err error, format string, args ...any) error {
	return wire.WithHint(err, fmt.Sprintf(format, args...))
}

// OrHint adds a hint to an error that has none.
func OrHint(err error, format string, args ...any) error {
	if err == nil || HintOf(err) != "" {
		return err
	}
	return WithHint(err, format, args...)
}

// Sentence is an error as a person reads it, on one line.
func Sentence(err error) string {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // of errors that are joined
	return strings.Join(strings.Fields(text), " ")
}

// Counted is a number of things: "1 key", "2 keys".
func Counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// HintOf returns the hint that stands nearest to the error's surface: of the
// caller who knows most, else of the error code's row in the table.
func HintOf(err error) string {
	var refused *control.Error
	var coded *wire.Error
	switch {
	case wire.HintOf(err) != "":
		return wire.HintOf(err)
	case errors.Is(err, control.ErrNotRunning):
		return "vmux agent"
	case errors.As(err, &refused):
		return refused.Hint
	case errors.As(err, &coded):
		return wire.MeaningOf(coded.Code).Hint
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space there: df -h tells how much there is, and a quota may leave less"
	}
	return ""
}

// ExitOf is the exit status for an error: 0 done, 2 wrong usage, what the table
// of wire.Meanings says for an error with a code, 1 for all else.
func ExitOf(err error) int {
	var usage *usageError
	var coded *wire.Error
	var program *exitError
	var input *policy.InputError
	switch {
	case err == nil:
		return wire.ExitDone
	case errors.As(err, &program):
		return program.status
	case errors.As(err, &usage), errors.As(err, &input), errors.As(err, new(*config.Error)):
		return wire.ExitUsage
	case wire.CodeOf(err) == control.CodeInvalid: // found wrong by the agent
		return wire.ExitUsage
	case errors.As(err, &coded):
		return wire.MeaningOf(coded.Code).Exit
	}
	return wire.ExitFailed
}
