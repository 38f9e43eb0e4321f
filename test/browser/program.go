package browser

import (
	"os"
	"os/exec"
	"syscall"

	"vmux/internal/testkit"
)

// program starts a program of the tests until the test ends, and returns what it
// has written so far.
func program(t TB, env []string, name string, args ...string) (written func() string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: run `make setup`", name)
	}
	out := &testkit.Output{}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends with all that it has started
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return out.String
}
