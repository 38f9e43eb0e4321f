package sshctx

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Errors of ParseBinding.
var (
	// ErrNotBinding is returned for bytes that are no session binding.
	ErrNotBinding = errors.New("not a session binding")
	// ErrBindingSignature is returned when the host key did not sign the
	// session ID.
	ErrBindingSignature = errors.New("session binding: wrong signature of the host")
	// ErrHostKey is returned, together with the binding, when the host key is one
	// that this program cannot read: of a type that is newer than it. The binding
	// then proves nothing. To leave it out would be wrong as well, since it may be
	// all that tells that the agent is forwarded.
	ErrHostKey = errors.New("session binding: the host key cannot be read")
)

// Binding is the contents of session-bind@openssh.com (OpenSSH PROTOCOL.agent
// section 1): the server that owns HostKey took part in the key exchange of the
// session SessionID.
type Binding struct {
	HostKey    []byte // blob of the server's host key or host certificate
	SessionID  []byte // the session's first exchange hash
	Signature  []byte // SSH signature blob by the host key over SessionID
	Forwarding bool   // the connection is to be forwarded to this server
}

// ParseBinding reads what stands behind the extension's name, all of it, and
// verifies the host's signature. The slices refer to b. Errors: ErrNotBinding,
// ErrBindingSignature, ErrHostKey.
func ParseBinding(b []byte) (Binding, error) {
	r := reader{rest: b}
	bound := Binding{HostKey: r.bytes(), SessionID: r.bytes(), Signature: r.bytes()}
	forwarding := r.byte()
	if !r.done() || forwarding > 1 || !isExchangeHash(bound.SessionID) {
		return Binding{}, ErrNotBinding
	}
	bound.Forwarding = forwarding == 1
	err := bound.Verify()
	if err != nil && !errors.Is(err, ErrHostKey) {
		return Binding{}, err
	}
	return bound, err
}

// Verify checks the host's signature over the session ID. Whoever gets a Binding
// from somebody else calls it before believing it.
func (b Binding) Verify() error {
	if KeyType(b.HostKey) == "" {
		return fmt.Errorf("%w: host key", ErrNotBinding)
	}
	key, err := ssh.ParsePublicKey(b.HostKey)
	if err != nil {
		return ErrHostKey
	}
	r := reader{rest: b.Signature}
	s := ssh.Signature{Format: r.text(), Blob: r.bytes(), Rest: r.rest}
	if r.failed {
		return fmt.Errorf("%w: signature", ErrNotBinding)
	}
	if err := key.Verify(b.SessionID, &s); err != nil {
		return ErrBindingSignature
	}
	return nil
}

// Marshal encodes the binding to the bytes it was parsed from.
func (b Binding) Marshal() []byte {
	out := AppendString(AppendString(AppendString(nil, b.HostKey), b.SessionID), b.Signature)
	if b.Forwarding {
		return append(out, 1)
	}
	return append(out, 0)
}

// Covers reports whether the binding is of the session that the signed bytes log
// in to. A connection that is bound for forwarding only is no login's own, and
// bytes that name a host key must name this one.
func (b Binding) Covers(c Context) bool {
	switch c.Kind {
	case UserAuth:
		return !b.Forwarding && bytes.Equal(b.SessionID, c.SessionID)
	case HostBound:
		return !b.Forwarding && bytes.Equal(b.SessionID, c.SessionID) && bytes.Equal(b.HostKey, c.HostKey)
	}
	return false
}
