// Package testkit is what the tests of several packages share. The product never
// imports it.
package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs builds vmux and vmux-hub as they are shipped, side by side in a scratch
// folder, runs the tests with the path of vmux in *vmux, and returns the exit
// status. The programs are not the test binary: the race detector makes a
// passphrase take seconds.
func Programs(m *testing.M, vmux *string) int {
	dir, err := os.MkdirTemp("", "vmux-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "vmux/cmd/vmux", "vmux/cmd/vmux-hub")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	*vmux = filepath.Join(dir, "vmux")
	return m.Run()
}
