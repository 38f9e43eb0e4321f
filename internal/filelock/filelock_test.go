package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// One holds the lock, until it closes the file; the next one gets it then.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := TryLock(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("while it is held: %v, %v", f, err)
	}
	waits := make(chan error)
	go func() {
		second, err := Lock(path)
		if err == nil {
			err = second.Close()
		}
		waits <- err
	}()
	first.Close()
	if err := <-waits; err != nil {
		t.Error(err)
	}
	last, err := TryLock(path)
	if err != nil {
		t.Fatal("once it is free", err)
	}
	last.Close()
}

// Whoever can write into the folder cannot have another file locked, or made.
func TestSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := os.Symlink(filepath.Join(dir, "other"), path); err != nil {
		t.Fatal(err)
	}
	if f, err := TryLock(path); err == nil {
		f.Close()
		t.Error("a symbolic link was followed")
	}
}
