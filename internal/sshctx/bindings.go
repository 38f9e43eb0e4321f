package sshctx

import (
	"bytes"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Forwarded reports whether a connection with these bindings, oldest first, comes
// from another host.
func Forwarded(bindings []Binding) bool { return len(bindings) > 0 && bindings[0].Forwarding }

// ServerOf returns the host key of the server that a login is for, nil if
// nothing tells it. A binding that another host has sent is no more than that
// host's word: it could name itself, and log in elsewhere.
func ServerOf(bindings []Binding, c Context) []byte {
	if c.HostKey != nil {
		return c.HostKey
	}
	if len(bindings) == 1 && bindings[0].Covers(c) {
		return bindings[0].HostKey
	}
	return nil
}

// Contradicts reports whether the bytes are a login to another session or
// server than the one that the connection is bound to (as OpenSSH's ssh-agent
// refuses it): somebody uses the connection for a login that is not its own.
func Contradicts(bindings []Binding, c Context) bool {
	if !c.IsLogin() || len(bindings) == 0 {
		return false
	}
	last := bindings[len(bindings)-1]
	if last.Forwarding { // the client on the other host does not bind
		return bytes.Equal(last.SessionID, c.SessionID)
	}
	return !last.Covers(c)
}

// Unreadable returns a host key among those of the bindings and of the bytes that
// is not Readable, so that nothing it is said to have signed can be verified.
func Unreadable(bindings []Binding, c Context) (hostKey []byte, found bool) {
	if c.HostKey != nil && !Readable(c.HostKey) {
		return c.HostKey, true
	}
	n := slices.IndexFunc(bindings, func(b Binding) bool { return !Readable(b.HostKey) })
	if n < 0 {
		return nil, false
	}
	return bindings[n].HostKey, true
}

// PlainKey returns the key that a certificate is over, and any other blob as it is:
// certificates are renewed, and ssh-keygen -l tells the key as well.
func PlainKey(blob []byte) []byte {
	key, err := ssh.ParsePublicKey(blob)
	if cert, ok := key.(*ssh.Certificate); err == nil && ok {
		return cert.Key.Marshal()
	}
	return blob
}
