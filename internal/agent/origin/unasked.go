package origin

import (
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// Unbound says what is signed without asking anybody on connections that are not bound
// to a server. Clients other than OpenSSH from 8.9 on (plink, paramiko, libssh2) bind
// none, not even those that they forward.
type Unbound string

// The choices of --unbound-certificate.
const (
	UnboundFirst  Unbound = "first"  // the first session of each client process; the default
	UnboundAlways Unbound = "always" // every session
	UnboundNever  Unbound = "never"  // none
)

// Unasked says who may use what signs without a person being asked: the session
// certificate, and the keys of the upstream agent.
type Unasked struct {
	Unbound Unbound
	// Forward lets programs on other hosts use it through agent forwarding.
	Forward bool
	Clients *Clients
}

// Allows reports whether a connection may have it: none that comes from another host.
// Of one that is not bound AllowsUnbound says more.
func (u Unasked) Allows(c sshagent.Connection) bool { return u.Forward || !u.Clients.Elsewhere(c) }

// AllowsUnbound reports whether a client that does not bind may have this signed. Who
// lets other hosts use it has nothing to gain from a limit. What is no login names no
// server in any case, and comes from a program that forwards nothing (ssh-keygen -Y sign).
func (u Unasked) AllowsUnbound(c sshagent.Connection, about sshctx.Context) bool {
	switch {
	case u.Unbound == UnboundAlways:
		return true
	case !about.IsLogin():
		return u.Forward || u.Clients.MayManage(c)
	case u.Unbound == UnboundNever:
		return false
	}
	return u.Clients.FirstSession(c, about.SessionID) || u.Forward
}
