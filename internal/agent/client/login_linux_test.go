package client

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"vmux/internal/sshagent"
)

// An ssh that has ended before it could be looked at, as on a busy computer, is not
// taken for a login to an account of the user's own name: what the server was seen to
// refuse would be forgotten.
func TestEndedLoginIsUnknown(t *testing.T) {
	cmd := exec.Command("true")
	cmd.Args = []string{"ssh", "somebody@host"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	// Ended, and not waited for yet: it is there, without a command line.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	login := new(Files).Login(sshagent.Peer{PID: cmd.Process.Pid, UID: os.Getuid()}).Wait()
	if login.Account != "" || !login.Unclear || !login.Unnamed {
		t.Errorf("account %q, unclear %v, unnamed %v", login.Account, login.Unclear, login.Unnamed)
	}
}
