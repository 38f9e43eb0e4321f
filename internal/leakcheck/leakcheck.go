// Package leakcheck fails a package's tests when a goroutine of this module
// outlives them. It is for TestMain alone.
package leakcheck

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"testing"
	"time"
)

// patience is how long goroutines that are ending may take.
const patience = 10 * time.Second

// Run runs the tests and returns the exit status: that of the tests, or 1, with
// the stacks on standard error, if they pass and a goroutine stays that runs
// this module's code or was started by it. While fuzzing it does not look.
func Run(m *testing.M) int {
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); code != 0 || f != nil && f.Value.String() != "" {
		return code
	}
	if left := wait(patience); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "goroutines stay:\n%s\n", left)
		return 1
	}
	return 0
}

// wait returns the stacks of those that do not end by themselves.
func wait(patience time.Duration) []byte {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); ; <-look.C {
		if left := leaked(stacks()); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

func stacks() []byte {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2) // to memory: it does not fail
	return b.Bytes()
}

// leaked picks the goroutines with a frame of this module's, but for the one that
// looks.
func leaked(stacks []byte) []byte {
	var left []byte
	for g := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		ours := bytes.Contains(g, []byte("\nvmux/")) || bytes.Contains(g, []byte("\ncreated by vmux/"))
		if ours && !bytes.Contains(g, []byte("\nvmux/internal/leakcheck.Run(")) {
			left = append(append(left, g...), "\n\n"...)
		}
	}
	return left
}
