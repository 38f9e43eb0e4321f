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
	first sessions
	own   sessions // those that processes of OpenSSH's client have bound first
}

// sessions are one SSH session of each process, as a hash of its ID.
type sessions map[client.ID][sha256.Size]byte

// is reports whether the session is that of the process; it is from now on if there was
// none. Where too many processes are known it is not.
func (s *sessions) is(process client.ID, sessionID []byte) bool {
	session := sha256.Sum256(sessionID)
	if known, ok := (*s)[process]; ok {
		return known == session
	}
	if len(*s) >= maxClients {
		maps.DeleteFunc(*s, func(id client.ID, _ [sha256.Size]byte) bool { return !id.Runs() })
	}
	if len(*s) >= maxClients {
		return false
	}
	if *s == nil {
		*s = sessions{}
	}
	(*s)[process] = session
	return true
}

// processOf is who has connected, as it was then: its ID may be another's by now.
func processOf(from sshagent.Connection) (client.Process, bool) {
	if p, ok := from.Process.(client.Process); ok {
		return p, true
	}
	return client.ProcessOf(from.Peer.PID)
}

// FirstSession reports whether the session is the first of the process; it is from
// now on if there was none. What cannot be told is not the first.
func (c *Clients) FirstSession(from sshagent.Connection, sessionID []byte) bool {
	p, ok := processOf(from)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first.is(p.ID, sessionID)
}

// Taken marks a connection that another host has opened by a socket which `ssh` forwards to
// it (`ssh -R SOCKET`, RemoteForward), and which comes as one of this computer's own. Each
// process of OpenSSH's client has one session, which it binds before that host can do
// anything: another one is not its own. Nor is any that a process has which has forked to
// the background (`ssh -f`, ControlPersist): that comes after the login. It takes who has
// connected, and returns what marks that connection.
func (c *Clients) Taken(peer sshagent.Peer) func(sshagent.Connection) sshagent.Connection {
	var known any
	if p, ok := client.ProcessOf(peer.PID); ok {
		known = p
	}
	return func(from sshagent.Connection) sshagent.Connection {
		from.Process = known
		// What could not be looked at then is looked at again: it passes for nothing better.
		p, ok := processOf(from)
		if ok && slices.Contains(openSSH, p.Program()) && !from.Unproven && c.another(p, from.Bindings) {
			from.Bindings, from.Relayed = nil, true
		}
		return from
	}
}

// another reports whether what a process of OpenSSH's client asks for is not of its own session.
func (c *Clients) another(p client.Process, bindings []sshctx.Binding) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(bindings) == 0 {
		_, binds := c.own[p.ID]
		return binds || p.Forked
	}
	own := c.own.is(p.ID, bindings[0].SessionID)
	return !sshctx.Forwarded(bindings) && (p.Forked || !own)
}

// NoteLogin remembers the session of a login by a phone-held key, so that a client
// that logs in by one cannot have the certificate sign for the host that it forwards
// the agent to.
func (c *Clients) NoteLogin(from sshagent.Connection, about sshctx.Context) {
	if len(from.Bindings) == 0 && !from.Unproven && about.IsLogin() {
		c.FirstSession(from, about.SessionID)
	}
}

// openSSH are the names of OpenSSH's client: its own, HPN-SSH's, GSI-OpenSSH's, and the one
// behind a wrapper of Nix.
var openSSH = []string{"ssh", "hpnssh", "ssh-hpn", "gsissh", ".ssh-wrapped"}

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
	if from.Unproven || from.Relayed || sshctx.Forwarded(from.Bindings) {
		return true
	}
	if len(from.Bindings) == 0 {
		return false
	}
	p, ok := processOf(from)
	return ok && c.relays(p)
}

// MayManage reports whether who is connected may lock, unlock and empty the
// agent: not another host that the agent is forwarded to. SSH clients do none of
// it themselves.
func (c *Clients) MayManage(from sshagent.Connection) bool {
	if len(from.Bindings) > 0 || from.Unproven {
		return false
	}
	p, ok := processOf(from)
	return !ok || !slices.Contains(openSSH, p.Program()) && !c.relays(p)
}

// managers are the programs whose messages are passed on to the upstream agent, and a
// vmux before this one, which has judged by the same list. None of them is an SSH client
// that could forward the agent.
var managers = []string{"ssh-add", "keepassxc", "vmux"}

// ManagesKeys reports whether a program of that name is one of those.
func ManagesKeys(program string) bool { return slices.Contains(managers, program) }

// Program is the name of who has connected, "" if it cannot be told.
func Program(from sshagent.Connection) string {
	p, ok := processOf(from)
	if !ok {
		return ""
	}
	return p.Program()
}

// MayPassOn reports whether who is connected may have the upstream agent do anything but
// list and sign: only a program that manages agents' keys. An SSH client of a name that
// nobody has heard of, which binds nothing and has logged in by a password, tells by
// nothing that it forwards the agent; and what it passes on can load a library.
func (c *Clients) MayPassOn(from sshagent.Connection) bool {
	p, ok := processOf(from)
	return ok && slices.Contains(managers, p.Program()) && c.MayManage(from)
}
