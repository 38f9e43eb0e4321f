package agent

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"

	"vmux/internal/agent/client"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// UnboundCertificate says what the session certificate signs on connections that
// are not bound to a server. Clients other than OpenSSH from 8.9 on (plink, paramiko,
// libssh2) bind none, not even those that they forward.
type UnboundCertificate string

// The choices of --unbound-certificate.
const (
	UnboundFirst  UnboundCertificate = "first"  // the first session of each client process; the default
	UnboundAlways UnboundCertificate = "always" // every session
	UnboundNever  UnboundCertificate = "never"  // none
)

// maxUnbound bounds the client processes that are remembered.
const maxUnbound = 1024

// unboundSessions are the SSH sessions that client processes which bind nothing
// have logged in to first. A process that asks for another one may be forwarding
// the agent: what comes from the other host looks as its own requests do.
type unboundSessions struct {
	mu    sync.Mutex
	first map[client.ID][sha256.Size]byte
}

// take reports whether the session is the first of the process; it is from now
// on if there was none. What cannot be told is not the first.
func (u *unboundSessions) take(pid int, sessionID []byte) bool {
	p, ok := client.ProcessOf(pid)
	if !ok {
		return false
	}
	session := sha256.Sum256(sessionID)
	u.mu.Lock()
	defer u.mu.Unlock()
	if known, ok := u.first[p.ID]; ok {
		return known == session
	}
	if len(u.first) >= maxUnbound {
		maps.DeleteFunc(u.first, func(id client.ID, _ [sha256.Size]byte) bool { return !id.Runs() })
	}
	if len(u.first) >= maxUnbound {
		return false
	}
	if u.first == nil {
		u.first = map[client.ID][sha256.Size]byte{}
	}
	u.first[p.ID] = session
	return true
}

// knows reports whether the process has logged in to a session.
func (u *unboundSessions) knows(process client.ID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.first[process]
	return ok
}

// noteUnbound remembers the session of a login by a phone-held key, so that a
// client that logs in by one cannot have the certificate sign for the host that it
// forwards the agent to.
func (a *Agent) noteUnbound(c sshagent.Connection, about sshctx.Context) {
	if len(c.Bindings) == 0 && !c.Unproven && isLogin(about) {
		a.unbound.take(c.Peer.PID, about.SessionID)
	}
}

func isLogin(about sshctx.Context) bool {
	return about.Kind == sshctx.UserAuth || about.Kind == sshctx.HostBound
}

// mayCertify refuses what the session certificate is not for: all but a login
// that names it as its key (a signature over a file would be one that nobody was
// asked for), and logins on a connection that is bound to something else, comes
// from another host, or may do so. It is asked although the certificate is not
// listed there: every server that it has logged in to knows it.
func (a *Agent) mayCertify(c sshagent.Connection, blob, data []byte) error {
	about := describe(data)
	hostKey, uncertain := sshctx.Unreadable(c.Bindings, about)
	switch {
	case !isLogin(about) || !bytes.Equal(about.PublicKey, blob):
		return control.Errorf(wire.CodePolicyDenied, "sign files and git objects with a phone-held key: `ssh-add -L` lists them",
			"The session certificate signs logins only.")
	case uncertain:
		return control.Errorf(wire.CodePolicyDenied, otherHostKeyHint+"; or approve a phone-held key",
			"The session certificate is not used here: vmux cannot check the server's host key (%s).", sshctx.TypeName(hostKey))
	case !a.certifies(c):
		return control.Errorf(wire.CodePolicyDenied, "allow it with `vmux agent --forward-certificate`",
			"The session certificate is not used for requests that come through another host.")
	case sshctx.Contradicts(c.Bindings, about):
		return errOtherServer()
	case len(c.Bindings) == 0 && !a.certifiesUnbound(c, about):
		return control.Errorf(wire.CodePolicyDenied, "use a phone-held key there, or allow it with `vmux agent --unbound-certificate always`",
			"The session certificate is not used here: the program does not say which server it logs in to, and may forward the agent.")
	}
	a.learnCertificate(c, about)
	return nil
}

// certifiesUnbound reports whether a client that does not bind may use the
// certificate for this session. Who lets other hosts use it has nothing to gain
// from a limit.
func (a *Agent) certifiesUnbound(c sshagent.Connection, about sshctx.Context) bool {
	switch a.cfg.UnboundCertificate {
	case UnboundAlways:
		return true
	case UnboundNever:
		return false
	}
	return a.unbound.take(c.Peer.PID, about.SessionID) || a.cfg.ForwardCertificate
}

// clientsWithoutBinding are programs that bind no connection of their own: one that
// is bound comes from a host that they forward the agent to.
var clientsWithoutBinding = []string{"plink", "pterm", "putty", "pscp", "psftp", "dbclient"}

// relays reports whether a connection of that process may come from another host
// though it does not begin with a binding for forwarding: the process is an SSH
// client that does not bind, by its name or since it has logged in so. What is
// bound there was bound on the other host, to hide that.
func (a *Agent) relays(p client.Process) bool {
	return slices.Contains(clientsWithoutBinding, p.Program()) || a.unbound.knows(p.ID)
}

// fromElsewhere reports whether a connection that is bound comes from another host.
func (a *Agent) fromElsewhere(c sshagent.Connection) bool {
	if c.Unproven || sshctx.Forwarded(c.Bindings) {
		return true
	}
	if len(c.Bindings) == 0 {
		return false // nothing tells: see certifiesUnbound
	}
	p, ok := client.ProcessOf(c.Peer.PID)
	return ok && a.relays(p)
}

// mayManage reports whether who is connected may lock, unlock and empty the
// agent: not another host that the agent is forwarded to. SSH clients do none of
// it themselves.
func (a *Agent) mayManage(c sshagent.Connection) bool {
	if len(c.Bindings) > 0 || c.Unproven {
		return false
	}
	p, ok := client.ProcessOf(c.Peer.PID)
	return !ok || p.Program() != "ssh" && !a.relays(p)
}
