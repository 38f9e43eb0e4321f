package origin

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmux/internal/agent/client"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// from is a connection of a process.
func from(pid int) sshagent.Connection {
	return sshagent.Connection{Peer: sshagent.Peer{PID: pid}}
}

// Processes that have ended make room, and no more are remembered than the limit.
func TestUnboundProcessesAreForgotten(t *testing.T) {
	var c Clients
	for range 2 { // the first session stays the first
		if !c.FirstSession(from(os.Getpid()), []byte("a")) {
			t.Fatal("the first session is refused")
		}
	}
	if c.FirstSession(from(os.Getpid()), []byte("b")) {
		t.Fatal("a second session is taken")
	}
	for pid := range maxClients {
		c.first[client.ID{PID: -1 - pid}] = [32]byte{}
	}
	if c.FirstSession(from(os.Getpid()), []byte("b")) {
		t.Error("another session after many other processes")
	}
	if parent, ok := client.ProcessOf(os.Getpid()); !ok || !c.FirstSession(from(parent.Parent), []byte("b")) || len(c.first) != 2 {
		t.Errorf("%d processes are remembered, of which two run", len(c.first))
	}
}

// attacker: a bastion that the agent is forwarded to binds by what cannot be verified,
// and then locks, unlocks or empties the agent.
func TestUnprovenConnectionsDoNotManage(t *testing.T) {
	var c Clients
	here := sshagent.Connection{Peer: sshagent.Peer{PID: os.Getpid()}}
	if !c.MayManage(here) {
		t.Error("a program of this computer may not")
	}
	here.Unproven = true
	if c.MayManage(here) {
		t.Error("an unproven connection may")
	}
}

// attacker: root on a host that a client of an unknown name forwards the agent to. Only
// programs that manage keys reach the upstream agent, and they too only unbound.
func TestOnlyKnownProgramsReachTheUpstreamAgent(t *testing.T) {
	var c Clients
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, may := range map[string]bool{"ssh-add": true, "vmux": true, "ssh": false, "tsh": false, "dbclient": false, "ssh-add.py": false} {
		path := filepath.Join(t.TempDir(), name)
		b, err := os.ReadFile(program)
		if err == nil {
			err = os.WriteFile(path, b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		cmd.Env = []string{waits + "=1"}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		from := sshagent.Connection{Peer: sshagent.Peer{PID: cmd.Process.Pid}}
		if got := c.MayPassOn(from); got != may {
			t.Errorf("%s: %v", name, got)
		}
		from.Bindings = []sshctx.Binding{{}}
		if c.MayPassOn(from) {
			t.Errorf("%s may over a bound connection", name)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if c.MayPassOn(sshagent.Connection{}) {
		t.Error("a program that cannot be told may")
	}
}

// waits has this program wait for the end of its input, as a client of some name.
const waits = "VMUX_TEST_WAITS"

func TestMain(m *testing.M) {
	if os.Getenv(waits) != "" {
		io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}
