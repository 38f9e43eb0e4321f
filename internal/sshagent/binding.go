package sshagent

import (
	"bytes"

	"vmux/internal/sshctx"
)

// maxBindings is how many hops one connection may tell of, as in OpenSSH.
const maxBindings = 16

// bind keeps a binding by OpenSSH's rules: after one for authentication there
// is no other, a session ID has one host key, and the same one may come again.
func (c *client) bind(b sshctx.Binding) bool {
	for _, old := range c.bindings {
		same := bytes.Equal(old.SessionID, b.SessionID)
		switch {
		case !old.Forwarding:
			return false
		case same:
			return bytes.Equal(old.HostKey, b.HostKey)
		}
	}
	if len(c.bindings) >= maxBindings {
		return false
	}
	c.bindings = append(c.bindings, b)
	return true
}
