package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listening returns the inodes of the sockets on which this process listens for TCP.
func listening(t *testing.T) (inodes []string) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Fatalf("%d descriptors, %v", len(fds), err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil {
			mine[link] = true
		}
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			const state, inode, listen = 3, 9, "0A" // proc_net_tcp
			f := strings.Fields(line)
			if len(f) > inode && f[state] == listen && mine["socket:["+f[inode]+"]"] {
				inodes = append(inodes, f[inode])
			}
		}
	}
	slices.Sort(inodes)
	return inodes
}

// The message bus inside a hub has no port that others could speak to.
func TestNoListener(t *testing.T) {
	before := listening(t)
	h, err := New(Config{PublicURL: "http://localhost", StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if after := listening(t); !slices.Equal(before, after) {
		t.Errorf("it listens: sockets %v, before it %v", after, before)
	}
	newHub(t)
	if after := listening(t); len(after) != len(before)+1 {
		t.Errorf("the test sees no listener: %v", after)
	}
}
