//go:build unix

package store

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vmux/internal/testkit"
)

// A disk that does not answer, as of a file server that is away: one who asks for the
// hub's health waits for it, the others are told at once, and the store waits for none
// of them.
func TestHealthOfADiskThatDoesNotAnswer(t *testing.T) {
	d := newDisk(&Server{dir: t.TempDir()}, nil)
	path := filepath.Join(d.server.dir, probeFile)
	if err := syscall.Mkfifo(path, 0o600); err != nil { // whose opening waits for a reader
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- d.health() }()
	t.Cleanup(func() {
		reader, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		_, _ = io.Copy(io.Discard, reader)
		<-first
	})
	testkit.WaitFor(t, "the look at the disk, beside which the store is used", func() bool {
		if !d.mu.TryLock() {
			return false
		}
		defer d.mu.Unlock()
		return !d.probed.IsZero()
	})
	if err := d.health(); err != nil {
		t.Errorf("just now: %v", err)
	}
	d.mu.Lock()
	d.probed = d.probed.Add(-probeEvery)
	d.mu.Unlock()
	if err := d.health(); err == nil {
		t.Error("after a while the hub is still said to be well")
	}
	if err := d.closed(); err != nil {
		t.Errorf("the store is closed: %v", err)
	}
}
