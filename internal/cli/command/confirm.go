package command

import (
	"bufio"
	"context"
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
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(o.In).ReadString('\n')
		typed <- line
	}()
	select {
	case line := <-typed:
		return strings.TrimSpace(line)
	case <-ctx.Done():
		o.Aside("\n")
		return ""
	}
}
