package sshdtest

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"

	"vmux/internal/process"
	"vmux/internal/testkit"
)

// StartAgent runs a plain ssh-agent until the test ends and returns its
// socket's path and its process ID.
func (o OpenSSH) StartAgent(t TB) (socket string, pid int) {
	t.Helper()
	dir := testkit.SocketDir(t)
	socket = filepath.Join(dir, "agent.sock")
	agent, err := process.Start("ssh-agent", exec.Command(o.SSHAgent, "-D", "-a", socket), filepath.Join(dir, "log"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(agent.Stop)
	// It names its socket once it listens on it.
	if err := agent.WaitForLog(context.Background(), "SSH_AUTH_SOCK="); err != nil {
		t.Fatalf("%v", err)
	}
	return socket, agent.PID()
}

// Add runs `ssh-add ARGS…` against an agent and returns what it printed.
func (o OpenSSH) Add(t TB, agentSock string, args ...string) string {
	t.Helper()
	cmd := command(context.Background(), o.SSHAdd, args...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+agentSock)
	return output(t, cmd)
}

// Keygen runs `ssh-keygen ARGS…` and returns what it printed.
func (o OpenSSH) Keygen(t TB, args ...string) string {
	t.Helper()
	return output(t, command(context.Background(), o.SSHKeygen, args...))
}

// output runs a command that must succeed.
func output(t TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}
