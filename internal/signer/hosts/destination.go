// Package hosts is what the phone knows of servers by itself: where a login leads, as far
// as the signed bytes and session bindings prove it, and which host keys it has seen
// before. It decides nothing.
package hosts

import (
	"bytes"
	"errors"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Destination is what the phone itself has found of where a login leads: read
// from the signed bytes and from session bindings whose signatures it verified.
type Destination struct {
	// HostKey is the blob of the server's host key, of a host certificate that of
	// its key; nil if nothing proves it.
	HostKey []byte
	// Unproven is the blob of a host key that the bytes or a binding name, and that
	// this program cannot read, since its type is a newer one. HostKey is nil then.
	Unproven []byte
	// Via are the servers through which the SSH client's connection to the agent
	// is forwarded, nearest to the computer first. That it is empty proves
	// nothing: a computer can leave bindings out.
	Via []Hop
	// Memory is what this phone remembers of the host key.
	Memory Memory
	// Names are those that this phone knows the host key by.
	Names []wire.Text
	// Before are the fingerprints that the claimed host name had so far, if
	// Memory is Changed.
	Before []wire.Text
	// OtherTypes are those of host keys that the claimed name is known by, if it
	// is not known by this one.
	OtherTypes []wire.Text
	// Downgraded tells that the bytes do not name the host key, as those of an earlier
	// login did. Whoever has the computer and this host key could present a login to
	// another server so, which could not be done with bytes that name it.
	Downgraded bool
	// LooksLike is a name that this phone knows another host key by, and that the
	// claimed one could be taken for; empty if there is none.
	LooksLike wire.Text
	// NewUser tells that no login as this user to this host key was approved.
	NewUser bool
}

// Hop is a server to which the agent is forwarded.
type Hop struct {
	HostKey  []byte
	Unproven bool        // HostKey cannot be read, so that nothing proves it
	Names    []wire.Text // by which this phone knows it
}

// Forwarded reports whether the request came from another server.
func (d Destination) Forwarded() bool { return len(d.Via) > 0 }

// Fingerprint is that of the host key, "" if none is known.
func (d Destination) Fingerprint() string {
	if d.HostKey == nil {
		return ""
	}
	return sshctx.Fingerprint(d.HostKey)
}

// errContradiction answers a computer whose session bindings and signed bytes
// cannot both be true: it lies, or somebody lies to it.
func errContradiction() *wire.Error {
	return wire.Errorf(wire.CodePolicyDenied, "policy: the session binding contradicts what is to be signed")
}

// readBindings verifies all session bindings of a request (OpenSSH
// PROTOCOL.agent section 1). One that its host key did not sign is a lie. One
// whose host key cannot be read is kept: it says where the agent is forwarded to.
func readBindings(list [][]byte) ([]sshctx.Binding, error) {
	bindings := make([]sshctx.Binding, 0, len(list))
	for i, b := range list {
		bound, err := sshctx.ParseBinding(b)
		if err != nil && !errors.Is(err, sshctx.ErrHostKey) {
			return nil, errContradiction()
		}
		if i > 0 && !bindings[i-1].Forwarding { // nothing comes after the login itself
			return nil, errContradiction()
		}
		bindings = append(bindings, bound)
	}
	return bindings, nil
}

// Of puts together what the signed bytes and the session bindings prove.
//
// A binding proves that the owner of its host key has signed the session ID. An
// honest server signs none but those of its own sessions. One that the agent is
// forwarded to may be in wrong hands, and sign that of its session with another
// server: behind it only bytes that name the host key prove anything, as
// OpenSSH's ssh-agent has it for keys that are limited to destinations.
func Of(known sshctx.Context, list [][]byte) (Destination, error) {
	var d Destination
	bindings, err := readBindings(list)
	if err != nil {
		return d, err
	}
	d.leadsTo(known.HostKey)
	for _, b := range bindings {
		if b.Forwarding {
			d.Via = append(d.Via, Hop{HostKey: sshctx.PlainKey(b.HostKey), Unproven: !sshctx.Readable(b.HostKey)})
		}
	}
	if known.Kind != sshctx.UserAuth && known.Kind != sshctx.HostBound {
		return d, nil
	}
	for _, b := range bindings {
		switch {
		case b.Forwarding && bytes.Equal(b.SessionID, known.SessionID):
			// A session to which the agent is forwarded is long logged in.
			return d, errContradiction()
		case b.Forwarding:
		case !b.Covers(known):
			return d, errContradiction()
		case !d.Forwarded():
			d.leadsTo(b.HostKey)
		}
	}
	return d, nil
}

// maxHostKey bounds a host key, in bytes, since it is remembered: RSA of 16384 bits is
// the largest that OpenSSH makes. A number can be written with any number of zeros.
const maxHostKey = 4 << 10

// leadsTo notes the host key of the server. Bytes that name one which cannot be
// read prove nothing to a person either: nobody here can tell what that key is, and
// it is neither remembered nor granted anything.
func (d *Destination) leadsTo(hostKey []byte) {
	if hostKey == nil {
		return
	}
	if key := sshctx.PlainKey(hostKey); sshctx.Readable(hostKey) && len(key) <= maxHostKey {
		d.HostKey = key
	} else {
		d.Unproven = hostKey
	}
}
