package command

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Terminal returns the terminal that a stream is, if it is one.
func Terminal(stream any) (f *os.File, ok bool) {
	f, ok = stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// Interactive reports whether a person can be asked on standard input.
func (o *IO) Interactive() bool {
	_, ok := Terminal(o.In)
	return ok
}

// Confirmed asks on the terminal whether to do what cannot be undone.
func (o *IO) Confirmed(ctx context.Context, question string) bool {
	return o.Asked(ctx, question+" Type yes: ") == "yes"
}

// Asked asks on the terminal for one line. It returns at once when ctx ends, by ^C: then,
// as at the end of the input, the line is empty.
func (o *IO) Asked(ctx context.Context, question string) string {
	o.Aside(question)
	line, _ := bufio.NewReader(o.Input(ctx)).ReadString('\n')
	if ctx.Err() != nil {
		o.Aside("\n")
		return ""
	}
	return strings.TrimSpace(line)
}

// Input is standard input until ctx ends, as by ^C, which a read of a terminal or a pipe
// would not notice.
func (o *IO) Input(ctx context.Context) io.Reader { return input{ctx, o.In} }

type input struct {
	ctx context.Context
	in  io.Reader
}

func (i input) Read(p []byte) (int, error) {
	own := make([]byte, len(p)) // p is the caller's again after ctx
	n, err := await(i.ctx, func() (int, error) { return i.in.Read(own) })
	copy(p, own[:n])
	clear(own[:n]) // it may be a passphrase
	return n, err
}

// ReadFile reads the beginning of a file that was named on the command line, limit bytes at
// most, until ctx ends: it may be a pipe that nobody writes to.
func ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	return await(ctx, func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, limit))
	})
}

// await returns what read does, or ctx's error when that ends before. What is read then is
// left to the process's end, which is soon.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
