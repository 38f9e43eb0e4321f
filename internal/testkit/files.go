package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// WriteFile writes a file of this name, for its owner alone, into a folder that the
// test's end removes, and returns its path.
func WriteFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SocketDir makes a folder for sockets, which the test's end removes. A socket's path must
// stay below 104 bytes, and the one of t.TempDir carries the test's name.
func SocketDir(t interface {
	Fatalf(format string, args ...any)
	Cleanup(func())
}) string {
	dir, err := os.MkdirTemp("", "vmux")
	if err != nil {
		t.Fatalf("make a folder for sockets: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
