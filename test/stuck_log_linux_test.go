package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vmux/internal/testkit"
)

// What the agent and a running phone tell is taken by nobody: a pipe that is not read, as a
// terminal that ^S has stopped. Then its reader goes away, as journald's end did to other
// daemons. Both go on, and answer.
func TestLogsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]struct {
		run, ask []string
		answers  string
	}{
		"agent": {[]string{"agent"}, []string{"status"}, "Phone not connected"},
		"phone": {[]string{"phone", "run", "--listen", "127.0.0.1:0"}, []string{"phone", "devices", "--json"}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			reader, full := fullPipe(t)
			cmd := h.command(t.Context(), what.run...)
			cmd.Stderr, cmd.SysProcAttr = full, &syscall.SysProcAttr{Setsid: true} // no terminal of the tester's
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = full.Close()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			socket := map[string]string{"agent": "agent/control.sock", "phone": "phone/control.sock"}[name]
			waitFor(t, "its socket", func() bool { _, err := os.Lstat(filepath.Join(h.dir, socket)); return err == nil })
			key := filepath.Join(h.dir, "key")
			testkit.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", key)
			answers := func() {
				t.Helper()
				if r := h.try(what.ask...); !strings.Contains(r.stdout, what.answers) {
					t.Errorf("%v: %+v", what.ask, r)
				}
				if name == "agent" { // each refusal is logged
					for range 3 {
						add := h.commandOf(t.Context(), "ssh-add", key)
						add.Env = append(add.Env, "SSH_AUTH_SOCK="+h.socket())
						if out, err := add.CombinedOutput(); !strings.Contains(string(out), "agent refused operation") {
							t.Errorf("ssh-add: %v\n%s", err, out)
						}
					}
				}
			}
			answers()
			_ = reader.Close()
			answers()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := <-ended; errors.As(err, &exit) && !exit.Exited() {
				t.Errorf("ended by %v", err)
			}
		})
	}
}

// fullPipe is a pipe that takes nothing more.
func fullPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close(); _ = writer.Close() })
	size, err := unix.FcntlInt(writer.Fd(), unix.F_GETPIPE_SZ, 0)
	if err == nil {
		_, err = writer.Write(make([]byte, size))
	}
	if err != nil {
		t.Fatal(err)
	}
	return reader, writer
}
