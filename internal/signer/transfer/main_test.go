package transfer_test

import (
	"os"
	"testing"

	"vmux/internal/leakcheck"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }
