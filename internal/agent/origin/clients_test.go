package origin

import (
	"os"
	"testing"

	"vmux/internal/agent/client"
	"vmux/internal/sshagent"
)

// Processes that have ended make room, and no more are remembered than the limit.
func TestUnboundProcessesAreForgotten(t *testing.T) {
	var c Clients
	for range 2 { // the first session stays the first
		if !c.FirstSession(os.Getpid(), []byte("a")) {
			t.Fatal("the first session is refused")
		}
	}
	if c.FirstSession(os.Getpid(), []byte("b")) {
		t.Fatal("a second session is taken")
	}
	for pid := range maxClients {
		c.first[client.ID{PID: -1 - pid}] = [32]byte{}
	}
	if c.FirstSession(os.Getpid(), []byte("b")) {
		t.Error("another session after many other processes")
	}
	if parent, ok := client.ProcessOf(os.Getpid()); !ok || !c.FirstSession(parent.Parent, []byte("b")) || len(c.first) != 2 {
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
