package sshagent

import (
	"os"
	"testing"
	"time"

	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
)

// TestMain checks that no goroutine outlives the tests. It is also the child
// process of tests that need one with limits of its own.
func TestMain(m *testing.M) {
	if socket := os.Getenv(childSocket); socket != "" {
		os.Exit(serveStarved(socket))
	}
	os.Exit(leakcheck.Run(m))
}

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = time.Minute

// settles waits until something that another goroutine or process brings about
// is true.
func settles(f func() bool) bool {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		if f() {
			return true
		}
	}
	return f()
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor
