package sshagent

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Binding says to which SSH session a connection belongs: what a client tells
// by session-bind@openssh.com (OpenSSH PROTOCOL.agent section 1). The server's
// signature over the session ID was verified.
type Binding struct {
	HostKey    []byte // blob of the server's public key
	SessionID  []byte
	Signature  []byte // the server's SSH signature blob over SessionID
	Forwarding bool   // the connection is forwarded to this server
}

// maxBindings is how many hops one connection may tell of, as in OpenSSH.
const maxBindings = 16

// maxSessionID bounds a session ID: an exchange hash, at most SHA-512's.
const maxSessionID = 128

// parseBinding reads and verifies the contents of a session-bind request. The
// result does not refer to b.
func parseBinding(b []byte) (Binding, error) {
	hostKey, rest, ok1 := cutString(b)
	sessionID, rest, ok2 := cutString(rest)
	signature, rest, ok3 := cutString(rest)
	if !ok1 || !ok2 || !ok3 || len(rest) != 1 || rest[0] > 1 {
		return Binding{}, errMalformed
	}
	if len(sessionID) == 0 || len(sessionID) > maxSessionID {
		return Binding{}, errMalformed
	}
	if err := verifyBinding(hostKey, sessionID, signature); err != nil {
		return Binding{}, fmt.Errorf("verify the host's signature: %w", err)
	}
	return Binding{
		HostKey:    bytes.Clone(hostKey),
		SessionID:  bytes.Clone(sessionID),
		Signature:  bytes.Clone(signature),
		Forwarding: rest[0] == 1,
	}, nil
}

func verifyBinding(hostKey, sessionID, signature []byte) error {
	key, err := ssh.ParsePublicKey(hostKey)
	if err != nil {
		return err
	}
	var s ssh.Signature
	if err := ssh.Unmarshal(signature, &s); err != nil {
		return err
	}
	return key.Verify(sessionID, &s)
}

// bind keeps a binding by OpenSSH's rules: after one for authentication there
// is no other, a session ID has one host key, and the same one may come again.
func (c *client) bind(b Binding) bool {
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
