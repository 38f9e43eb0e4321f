//go:build linux

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// nobody is an ordinary user, where the tests run as root, who may trace all.
const nobody = 65534

// Other programs of the same user can neither trace the agent, whose memory has the
// session certificate's key, nor the phone (ptrace(2), proc(5)).
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
	secret := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(secret, []byte(passphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var as *syscall.Credential
	if os.Getuid() == 0 {
		as = &syscall.Credential{Uid: nobody, Gid: nobody}
		for _, name := range []string{dir, vmux, secret} {
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
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	if !readable(start("sleep", "60")) {
		t.Fatal("nobody can be traced here: this test shows nothing")
	}
	for _, args := range [][]string{
		{"agent", "--lan=false"},
		{"phone", "run", "--approve", "always", "--passphrase-file", secret, "--listen", "127.0.0.1:0"},
	} {
		pid := start(vmux, args...)
		waitFor(t, "vmux "+args[0]+" to forbid tracing", func() bool { return !readable(pid) })
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil || len(stat) == 0 || stat[0] == '0' {
			t.Errorf("vmux %s has ended: %q, %v", args[0], stat, err)
		}
	}
}
