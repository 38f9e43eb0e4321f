package sshagent

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain checks that no goroutine outlives the tests. It is also the child
// process of tests that need one with limits of its own.
func TestMain(m *testing.M) {
	if socket := os.Getenv(childSocket); socket != "" {
		os.Exit(serveStarved(socket))
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	// A fuzzing run keeps goroutines of the testing package's own.
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if code == 0 && !fuzzing && !settles(func() bool { return runtime.NumGoroutine() <= before }) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines leaked: %d, were %d\n%s\n",
			runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// settles waits until something that another goroutine or process brings about
// is true.
func settles(f func() bool) bool {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-look.C {
		if f() {
			return true
		}
	}
	return f()
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	if !settles(f) {
		t.Fatalf("waited in vain: %s", what)
	}
}
