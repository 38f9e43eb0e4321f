package command

import (
	"bufio"
	"context"
	"os"
	"strings"

	"golang.org/x/term"
)

// Interactive reports whether a person can be asked on standard input.
func (o *IO) Interactive() bool {
	in, ok := o.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
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
