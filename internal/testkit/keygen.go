package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Keygen runs the real ssh-keygen and returns what it prints.
func Keygen(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Fatal("ssh-keygen is missing: run `make setup`")
	}
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

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
