package certificate

import (
	"bytes"

	"vmux/internal/agent/origin"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Use says what the session certificate is for.
type Use struct{ origin.Unasked }

// Lists reports whether the certificate is listed on that connection. It is not where
// the server's host key cannot be read: nothing proves where that leads.
func (u Use) Lists(c sshagent.Connection) bool {
	_, unreadable := sshctx.Unreadable(c.Bindings, sshctx.Context{})
	return !unreadable && u.Allows(c)
}

// Check refuses what the session certificate is not for: all but a login that names
// it as its key (a signature over a file would be one that nobody was asked for), and
// logins on a connection that is bound to something else, comes from another host, or
// may do so. It is asked although the certificate is not listed there: every server
// that it has logged in to knows it.
func (u Use) Check(c sshagent.Connection, blob []byte, about sshctx.Context) error {
	hostKey, unreadable := sshctx.Unreadable(c.Bindings, about)
	switch {
	case !about.IsLogin() || !bytes.Equal(about.PublicKey, blob):
		return control.Errorf(wire.CodePolicyDenied, "sign files and git objects with a phone-held key: `ssh-add -L` lists them",
			"The session certificate signs logins only.")
	case unreadable:
		return control.Errorf(wire.CodePolicyDenied, origin.HintOtherHostKey+"; or approve a phone-held key",
			"The session certificate is not used here: vmux cannot check the server's host key (%s).", sshctx.TypeName(hostKey))
	case !u.Allows(c):
		return control.Errorf(wire.CodePolicyDenied, "allow it with `vmux agent --forward-certificate`",
			"The session certificate is not used for requests that come through another host.")
	case sshctx.Contradicts(c.Bindings, about):
		return origin.ErrOtherServer()
	case len(c.Bindings) == 0 && !u.AllowsUnbound(c, about):
		return control.Errorf(wire.CodePolicyDenied, "use a phone-held key there, or allow it with `vmux agent --unbound-certificate always`",
			"The session certificate is not used here: the program does not say which server it logs in to, and may forward the agent.")
	}
	return nil
}
