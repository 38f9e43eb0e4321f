package sshdtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartAgent runs a plain ssh-agent until the test ends and returns its
// socket's path and its process ID.
func (o OpenSSH) StartAgent(t TB) (socket string, pid int) {
	t.Helper()
	socket = filepath.Join(shortTempDir(t), "agent.sock")
	log, stdout, err := newLog()
	if err != nil {
		t.Fatalf("start ssh-agent: %v", err)
	}
	defer stdout.Close()
	agent := exec.Command(o.SSHAgent, "-D", "-a", socket)
	agent.Stdout, agent.Stderr = stdout, stdout
	if err := agent.Start(); err != nil {
		t.Fatalf("start ssh-agent: %v", err)
	}
	t.Cleanup(func() {
		agent.Process.Kill()
		agent.Wait()
		log.close()
	})
	stdout.Close()

	// It names its socket once it listens on it.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	listening := func(text string) bool { return strings.Contains(text, "SSH_AUTH_SOCK=") }
	if err := log.wait(ctx, listening); err != nil {
		t.Fatalf("start ssh-agent: %v: %s", err, log)
	}
	return socket, agent.Process.Pid
}

// shortTempDir is for sockets, whose paths must stay below 104 bytes: t.TempDir
// carries the test's name.
func shortTempDir(t TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmux")
	if err != nil {
		t.Fatalf("make a scratch folder: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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
