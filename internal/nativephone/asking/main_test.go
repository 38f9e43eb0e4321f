package asking

import (
	"os"
	"testing"

	"vmux/internal/leakcheck"
)

// TestMain fails the package when a goroutine stays.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }
