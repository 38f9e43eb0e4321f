// Package leakcheck fails a package's tests when a goroutine outlives them. It is for
// TestMain alone.
package leakcheck

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Run runs a package's tests for TestMain and returns the exit status: that of the
// tests, or 1, with the stacks on standard error, if they pass and a goroutine
// outlives them. Before it looks, it calls what tidies up after all tests. While
// fuzzing it does not look: the fuzzer's own stay.
func Run(m *testing.M, tidy ...func()) int {
	before := goleak.IgnoreCurrent()
	code := m.Run()
	for _, f := range tidy {
		f()
	}
	if f := flag.Lookup("test.fuzz"); code != 0 || f != nil && f.Value.String() != "" {
		return code
	}
	if err := leaked(before); err != nil {
		fmt.Fprintf(os.Stderr, "goroutines stay: %v\n", err)
		return 1
	}
	return 0
}

// leaked gives goroutines about ten seconds to end, on a busy machine.
func leaked(before goleak.Option) (err error) {
	for range 20 {
		if err = goleak.Find(before,
			// Connections that net/http keeps for the next request end by themselves.
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
			goleak.IgnoreAnyFunction("net/http.(*http2clientConnReadLoop).run"),
			// In a browser or Node the runtime has one of its own.
			goleak.IgnoreAnyFunction("runtime.handleEvent"),
		); err == nil {
			break
		}
	}
	return err
}
