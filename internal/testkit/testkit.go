// Package testkit is what the tests of several packages share. The product never
// imports it.
package testkit

import (
	"encoding/json"
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
	if err := Build(dir, nil, "vmux/cmd/vmux", "vmux/cmd/vmux-hub"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*vmux = filepath.Join(dir, "vmux")
	return m.Run()
}

// Build builds programs into a folder, by the command of a release: what was compiled
// for one package's tests is then there for all. What replace names takes the place of
// files of the source tree, by absolute paths; the empty path stands for none.
func Build(dir string, replace map[string]string, programs ...string) error {
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	if replace != nil {
		list, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil {
			return err
		}
		overlay := filepath.Join(dir, "overlay.json")
		if err := os.WriteFile(overlay, list, 0o600); err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	build := exec.Command("go", append(args, programs...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", programs, err, out)
	}
	return nil
}
