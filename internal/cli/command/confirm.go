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
// would not notice: what is read is left to the process's end, which is soon.
func (o *IO) Input(ctx context.Context) io.Reader { return input{ctx, o.In} }

type input struct {
	ctx context.Context
	in  io.Reader
}

func (i input) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	read, own := make(chan result, 1), make([]byte, len(p)) // p is the caller's again after ctx
	go func() {
		n, err := i.in.Read(own)
		read <- result{n, err}
	}()
	select {
	case r := <-read:
		copy(p, own[:r.n])
		clear(own) // it may be a passphrase
		return r.n, r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
