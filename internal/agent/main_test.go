package agent

import (
	"bytes"
	"fmt"
	"os"
	"runtime/pprof"
	"testing"
	"time"
)

// TestMain fails the package when a goroutine of the module's stays.
func TestMain(m *testing.M) {
	if dir := os.Getenv(cacheWriterEnv); dir != "" {
		writeCacheForEver(dir)
	}
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines stay:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the goroutines of this module that do not end by themselves.
func leaked() string {
	for deadline := time.Now().Add(5 * time.Second); ; {
		var b bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
		var left []byte
		for g := range bytes.SplitSeq(b.Bytes(), []byte("\n\n")) {
			if bytes.Contains(g, []byte("vmux/internal/")) && !bytes.Contains(g, []byte("agent.TestMain")) {
				left = append(append(left, g...), "\n\n"...)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return string(left)
		}
		<-time.After(20 * time.Millisecond)
	}
}
