//go:build linux

package test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// nobody is an ordinary user, where the tests run as root, who may trace all.
const nobody = 65534

// Other programs of the same user can neither trace the agent, whose memory has the
// session certificate's key, nor the phone, nor the program that passphrases are typed to
// (ptrace(2), proc(5)).
func TestTracingIsForbidden(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	dir, err := os.MkdirTemp("", "vmux-tracing-") // the tests' own folder is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	vmux := filepath.Join(dir, "vmux")
	if err := exec.Command("cp", path, vmux).Run(); err != nil {
		t.Fatal(err)
	}
	var as *syscall.Credential
	if os.Getuid() == 0 {
		as = &syscall.Credential{Uid: nobody, Gid: nobody}
		for _, name := range []string{dir, vmux} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := h.commandOf(t.Context(), name, args...)
		cmd.Env = append(cmd.Env, "HOME="+dir, "VMUX_HOME="+dir)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
		return cmd
	}
	readable := func(pid int) bool { return command("ls", fmt.Sprintf("/proc/%d/fd", pid)).Run() == nil }
	start := func(name string, args ...string) int {
		cmd := command(name, args...)
		// On a terminal of its own, which attach needs.
		keys, err := pty.StartWithAttrs(cmd, nil, &syscall.SysProcAttr{Credential: as, Setsid: true, Setctty: true})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, keys) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = keys.Close() })
		return cmd.Process.Pid
	}
	if !readable(start("sleep", "60")) {
		t.Fatal("nobody can be traced here: this test shows nothing")
	}
	for _, args := range [][]string{
		{"agent", "--lan=false"},
		{"phone", "run", "--listen", "127.0.0.1:0"},
		{"phone", "attach"},
	} {
		pid := start(vmux, args...)
		waitFor(t, fmt.Sprint("vmux ", args, " to forbid tracing"), func() bool { return !readable(pid) })
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil || len(stat) == 0 || stat[0] == '0' {
			t.Errorf("vmux %s has ended: %q, %v", args, stat, err)
		}
	}
}
