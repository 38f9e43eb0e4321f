package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"vmux/internal/control"
	"vmux/internal/signer"
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
//     exit status tells them apart: see exitOf.
//   - A program that goes on running logs to standard error in slog's text form.
//   - No colours, no cursor movements: what is printed means the same in a
//     terminal, a pipe and a log. Only status --watch clears a terminal.
//   - What another device or a file named is shown through wire.Show, so that it
//     cannot write to the terminal what it likes.
//   - Nothing secret is printed, but for the one-time invitation, which is made
//     to be shown, and a key that its owner exports.
type output struct {
	mu  sync.Mutex // one line is written as a whole
	out io.Writer
	err io.Writer
	// json is the --json flag of the command that runs.
	json bool
}

// line writes one line of the answer.
func (o *output) line(format string, args ...any) error {
	return o.write(o.out, fmt.Sprintf(format, args...)+"\n")
}

// text writes a piece of the answer as it is, lines and all.
func (o *output) text(s string) error { return o.write(o.out, s) }

// value writes one JSON value of the answer as one line. It is for no web page:
// the & of an invitation stays readable.
func (o *output) value(v any) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return o.write(o.out, b.String())
}

// answer writes v with --json, and otherwise calls text, which writes lines.
func (o *output) answer(v any, text func() error) error {
	if o.json {
		return o.value(v)
	}
	return text()
}

// onScreen reports whether the answer is read on a terminal.
func (o *output) onScreen() bool {
	f, ok := o.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// say writes words for people, one `vmux: ` line for each line of the text.
// Whoever reads the answer does not read these, so losing one is no failure.
func (o *output) say(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("vmux: "+line, " ") + "\n")
	}
	_ = o.write(o.err, b.String())
}

// hint writes what to do next.
func (o *output) hint(format string, args ...any) {
	_ = o.write(o.err, "hint: "+fmt.Sprintf(format, args...)+"\n")
}

// aside writes to standard error as it is: a QR code, a prompt, a help text.
func (o *output) aside(s string) { _ = o.write(o.err, s) }

// logs is where a log is written: standard error, each record as a whole.
func (o *output) logs() io.Writer { return logWriter{o} }

type logWriter struct{ *output }

func (w logWriter) Write(b []byte) (int, error) { return len(b), w.write(w.err, string(b)) }

// fail tells a failure and its hint. A program that this one stands for has told
// its failure itself.
func (o *output) fail(err error) {
	var program *exitError
	if errors.As(err, &program) {
		return
	}
	o.say("%s", sentence(err))
	if h := hintOf(err); h != "" {
		o.hint("%s", h)
	}
}

func (o *output) write(w io.Writer, s string) error {
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

// usagef makes a usageError. Its hint is the --help of the command that runs.
func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// withHint adds to an error what to do about it: a command, or a short sentence.
func withHint(err error, format string, args ...any) error {
	return wire.WithHint(err, fmt.Sprintf(format, args...))
}

// orHint adds a hint to an error that has none.
func orHint(err error, format string, args ...any) error {
	if err == nil || hintOf(err) != "" {
		return err
	}
	return withHint(err, format, args...)
}

// sentence is an error as a person reads it, on one line.
func sentence(err error) string {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // of errors that are joined
	return strings.Join(strings.Fields(text), " ")
}

// counted is a number of things: "1 key", "2 keys".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// hintOf returns the hint that stands nearest to the error's surface: of the
// caller who knows most, else of the error code's row in the table.
func hintOf(err error) string {
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
	}
	return ""
}

// exitOf is the exit status for an error: 0 done, 2 wrong usage, what the table
// of wire.Meanings says for an error with a code, 1 for all else.
func exitOf(err error) int {
	var usage *usageError
	var coded *wire.Error
	var program *exitError
	var input *signer.InputError
	switch {
	case err == nil:
		return wire.ExitDone
	case errors.As(err, &program):
		return program.status
	case errors.As(err, &usage), errors.As(err, &input):
		return wire.ExitUsage
	case wire.CodeOf(err) == control.CodeInvalid: // found wrong by the agent
		return wire.ExitUsage
	case errors.As(err, &coded):
		return wire.MeaningOf(coded.Code).Exit
	}
	return wire.ExitFailed
}
