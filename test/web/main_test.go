package web

import (
	"os"
	"testing"

	"vmux/internal/leakcheck"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) {
	code := leakcheck.Run(m)
	Cleanup()
	os.Exit(code)
}
