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

// Confirmed asks on the terminal whether to do what cannot be undone. It returns
// at once when ctx ends, by ^C: that is no.
func (o *IO) Confirmed(ctx context.Context, question string) bool {
	o.Aside(question + " Type yes: ")
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(o.In).ReadString('\n')
		typed <- line
	}()
	select {
	case line := <-typed:
		return strings.TrimSpace(line) == "yes"
	case <-ctx.Done():
		o.Aside("\n")
		return false
	}
}
