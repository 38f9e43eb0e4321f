package agent

import (
	"os"
	"testing"

	"vmux/internal/leakcheck"
)

// TestMain fails when a test has left a goroutine behind. The test program is
// also the writer that a test kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(cacheWriterEnv); dir != "" {
		writeCacheForEver(dir)
	}
	os.Exit(leakcheck.Run(m))
}
