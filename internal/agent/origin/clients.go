// Package origin tells where a connection to the agent's socket comes from: from a
// program of this computer, or perhaps from another host that the agent is forwarded
// to. It judges by what clients have proven (their session bindings) and by what they
// have done before, and knows nothing of keys and phones.
package origin

import (
	"crypto/sha256"
	"maps"
	"slices"
	"sync"

	"vmux/internal/agent/client"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// maxClients bounds the client processes that are remembered.
const maxClients = 1024

// Clients remembers the SSH sessions that client processes which bind nothing have
// logged in to first. A process that asks for another one may be forwarding the
// agent: what comes from the other host looks as its own requests do. The zero value
// knows of none.
type Clients struct {
	mu    sync.Mutex
	first map[client.ID][sha256.Size]byte
}

// FirstSession reports whether the session is the first of the process; it is from
// now on if there was none. What cannot be told is not the first.
func (c *Clients) FirstSession(pid int, sessionID []byte) bool {
	p, ok := client.ProcessOf(pid)
	if !ok {
		return false
	}
	session := sha256.Sum256(sessionID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.first[p.ID]; ok {
		return known == session
	}
	if len(c.first) >= maxClients {
		maps.DeleteFunc(c.first, func(id client.ID, _ [sha256.Size]byte) bool { return !id.Runs() })
	}
	if len(c.first) >= maxClients {
		return false
	}
	if c.first == nil {
		c.first = map[client.ID][sha256.Size]byte{}
	}
	c.first[p.ID] = session
	return true
}

// NoteLogin remembers the session of a login by a phone-held key, so that a client
// that logs in by one cannot have the certificate sign for the host that it forwards
// the agent to.
func (c *Clients) NoteLogin(from sshagent.Connection, about sshctx.Context) {
	if len(from.Bindings) == 0 && !from.Unproven && about.IsLogin() {
		c.FirstSession(from.Peer.PID, about.SessionID)
	}
}

// withoutBinding are programs that bind no connection of their own: one that
// is bound comes from a host that they forward the agent to.
var withoutBinding = []string{"plink", "pterm", "putty", "pscp", "psftp", "dbclient"}

// relays reports whether a connection of that process may come from another host
// though it does not begin with a binding for forwarding: the process is an SSH
// client that does not bind, by its name or since it has logged in so. What is
// bound there was bound on the other host, to hide that.
func (c *Clients) relays(p client.Process) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.first[p.ID]
	return known || slices.Contains(withoutBinding, p.Program())
}

// Elsewhere reports whether a connection comes from another host, or may do so. Of
// one that is not bound nothing tells: see FirstSession.
func (c *Clients) Elsewhere(from sshagent.Connection) bool {
	if from.Unproven || sshctx.Forwarded(from.Bindings) {
		return true
	}
	if len(from.Bindings) == 0 {
		return false
	}
	p, ok := client.ProcessOf(from.Peer.PID)
	return ok && c.relays(p)
}

// MayManage reports whether who is connected may lock, unlock and empty the
// agent: not another host that the agent is forwarded to. SSH clients do none of
// it themselves.
func (c *Clients) MayManage(from sshagent.Connection) bool {
	if len(from.Bindings) > 0 || from.Unproven {
		return false
	}
	p, ok := client.ProcessOf(from.Peer.PID)
	return !ok || p.Program() != "ssh" && !c.relays(p)
}

// managers are the programs whose messages are passed on to the upstream agent, and a
// vmux before this one, which has judged by the same list. None of them is an SSH client
// that could forward the agent.
var managers = []string{"ssh-add", "keepassxc", "vmux"}

// MayPassOn reports whether who is connected may have the upstream agent do anything but
// list and sign: only a program that manages agents' keys. An SSH client of a name that
// nobody has heard of, which binds nothing and has logged in by a password, tells by
// nothing that it forwards the agent; and what it passes on can load a library.
func (c *Clients) MayPassOn(from sshagent.Connection) bool {
	p, ok := client.ProcessOf(from.Peer.PID)
	return ok && slices.Contains(managers, p.Program()) && c.MayManage(from)
}
