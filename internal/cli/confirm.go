package cli

import (
	"bufio"
	"context"
	"os"
	"strings"

	"golang.org/x/term"
)

// interactive reports whether a person can be asked on standard input.
func (a *app) interactive() bool {
	in, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// confirmed asks on the terminal whether to do what cannot be undone. It returns
// at once when ctx ends, by ^C: that is no.
func (a *app) confirmed(ctx context.Context, question string) bool {
	a.aside(question + " Type yes: ")
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		typed <- line
	}()
	select {
	case line := <-typed:
		return strings.TrimSpace(line) == "yes"
	case <-ctx.Done():
		a.aside("\n")
		return false
	}
}
