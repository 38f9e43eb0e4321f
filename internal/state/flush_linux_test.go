package state

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// A file system that cannot wait for the disk, as shares of other machines, is one all the same:
// that of /proc says the same of a folder as they do (EINVAL).
func TestFolderThatCannotBeFlushed(t *testing.T) {
	f, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("it can be: %v", err)
	}
	if err := errors.Join(flush(f), syncFolder("/proc")); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil || flush(f) == nil {
		t.Errorf("%v, and another error is none", err)
	}
}
