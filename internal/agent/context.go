package agent

import (
	"os"
	"slices"

	"vmux/internal/control"
	"vmux/internal/gitsign"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// contextOf is what the agent claims of a request. A client that comes over a
// forwarded connection is none of this computer's programs: what runs here is
// the ssh that forwards.
func (a *Agent) contextOf(r sshagent.SignRequest, about sshctx.Context) wire.Context {
	c := wire.Context{ContextQuality: wire.QualityUnknown, Programs: programsOf(r.Peer.PID), Account: accountOf(r.Peer)}
	if key := serverOf(r.Bindings, about); key != nil {
		c.HostName = a.nameFor(r, key)
	}
	if about.Kind == sshctx.SSHSIG && about.Namespace == gitsign.Namespace {
		c.Git = a.git.take(gitsign.Hash(about.HashAlgorithm, about.Hash))
	}
	if c.HostName != "" || len(c.Programs) > 0 || c.Account != "" || c.Git != nil {
		c.ContextQuality = wire.QualityClaimed
	}
	return c
}

// accountOf names the local account of a client that is not this user's, which is
// root or nobody.
func accountOf(peer sshagent.Peer) string {
	if peer.UID == sshagent.Root && os.Geteuid() != sshagent.Root {
		return "root"
	}
	return ""
}

// serverOf returns the host key of the server that a login is for, nil if
// nothing tells it. A binding that another host has sent is no more than that
// host's word: it could name itself, and log in elsewhere.
func serverOf(bindings []sshctx.Binding, about sshctx.Context) []byte {
	if about.HostKey != nil {
		return about.HostKey
	}
	if len(bindings) == 1 && bindings[0].Covers(about) {
		return bindings[0].HostKey
	}
	return nil
}

// forwarded reports whether the connection comes from another host.
func forwarded(bindings []sshctx.Binding) bool {
	return len(bindings) > 0 && bindings[0].Forwarding
}

// contradicts reports whether the bytes are a login to another session or
// server than the one that the connection is bound to (as OpenSSH's ssh-agent
// refuses it): somebody uses the connection for a login that is not its own.
func contradicts(bindings []sshctx.Binding, about sshctx.Context) bool {
	if about.Kind != sshctx.UserAuth && about.Kind != sshctx.HostBound || len(bindings) == 0 {
		return false
	}
	last := bindings[len(bindings)-1]
	if last.Forwarding { // the client on the other host does not bind
		return string(last.SessionID) == string(about.SessionID)
	}
	return !last.Covers(about)
}

// checkBindings refuses what a phone could not be told the truth of. A binding
// must not be left out: a server, which chooses its host key and certificate,
// could hide by it that the agent is forwarded to it.
func checkBindings(r sshagent.SignRequest, about sshctx.Context) error {
	switch {
	case r.Unproven:
		return control.Errorf(wire.CodePolicyDenied, "connect anew, and without forwarding the agent (`ssh -J` instead of `ssh -A`)",
			"The session binding of the connection cannot be verified.")
	case slices.ContainsFunc(marshalBindings(r.Bindings), func(b []byte) bool { return len(b) > wire.MaxBindingSize }):
		return control.Errorf(wire.CodePolicyDenied, otherHostKeyHint, "The server's host key or certificate is too long for vmux.")
	case contradicts(r.Bindings, about):
		return errOtherServer()
	}
	return nil
}

func errOtherServer() error {
	return control.Errorf(wire.CodePolicyDenied, "run the command again; a host that asks for this again is not to be forwarded the agent",
		"The login is to another server than the one that the connection is bound to.")
}

// otherHostKeyHint is what to do about a host key that vmux cannot read.
const otherHostKeyHint = "use another of the server's host keys, if it has one: `ssh -o HostKeyAlgorithms=ssh-ed25519`"

// unreadable returns a host key among those of the bindings and of the bytes that
// cannot be read here, so that nothing it is said to have signed can be verified.
func unreadable(bindings []sshctx.Binding, about sshctx.Context) (hostKey []byte, found bool) {
	if about.HostKey != nil && !sshctx.Readable(about.HostKey) {
		return about.HostKey, true
	}
	n := slices.IndexFunc(bindings, func(b sshctx.Binding) bool { return !sshctx.Readable(b.HostKey) })
	if n < 0 {
		return nil, false
	}
	return bindings[n].HostKey, true
}

// marshalBindings are the bindings as a phone can verify them itself. Where it
// cannot, since the key is of a type newer than vmux, a long signature is left out:
// those of some post-quantum keys are longer than all the rest of a request.
func marshalBindings(bindings []sshctx.Binding) [][]byte {
	var list [][]byte
	for _, b := range bindings {
		text := b.Marshal()
		if len(text) > wire.MaxBindingSize && !sshctx.Readable(b.HostKey) {
			b.Signature = nil
			text = b.Marshal()
		}
		list = append(list, text)
	}
	return list
}
