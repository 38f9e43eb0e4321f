package web

import (
	"os"
	"testing"

	"vmux/internal/leakcheck"
	"vmux/test/browser"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) {
	code := leakcheck.Run(m, browser.CloseShared)
	Cleanup()
	os.Exit(code)
}
