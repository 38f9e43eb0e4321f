// Package sshagent serves the SSH agent protocol (RFC 9987, OpenSSH's
// PROTOCOL.agent) on a Unix socket, on behalf of a Backend that knows the
// identities. It holds no keys and knows no phones.
//
// It exists beside golang.org/x/crypto/ssh/agent because ServeAgent has no
// context, hides the connection, accepts frames of 16 MiB and waits for one
// request before it reads the next: a request that waits for a person must not
// keep the agent from noticing that the asker has gone.
package sshagent

import (
	"encoding/binary"
	"errors"

	"vmux/internal/sshctx"
)

// MaxFrame bounds one message, without its length prefix. It is what OpenSSH's
// own agent accepts.
const MaxFrame = 256 << 10

// Message numbers of RFC 9987 section 6.1.
const (
	msgFailure           = 5
	msgSuccess           = 6
	msgRequestIdentities = 11
	msgIdentitiesAnswer  = 12
	msgSignRequest       = 13
	msgSignResponse      = 14
	msgAdd               = 17
	msgRemove            = 18
	msgRemoveAll         = 19
	msgAddSmartcard      = 20
	msgLock              = 22
	msgUnlock            = 23
	msgAddConstrained    = 25
	msgAddSmartcardConst = 26
	msgExtension         = 27
	msgExtensionFailure  = 28
	msgExtensionResponse = 29
)

// headerSize is the big-endian length in front of each message.
const headerSize = 4

var (
	failureFrame = []byte{0, 0, 0, 1, msgFailure}
	successFrame = []byte{0, 0, 0, 1, msgSuccess}
	emptyListing = NewListing(nil)

	extensionFailureFrame = []byte{0, 0, 0, 1, msgExtensionFailure}
)

var errMalformed = errors.New("malformed message")

// Identity is one key or certificate as clients see it.
type Identity struct {
	Blob    []byte // RFC 4253 section 6.6
	Comment string
	// Passed is of a key that is another agent's, to which the backend passes requests on.
	Passed bool
}

// Listing is an immutable list of identities with its encoded answer.
type Listing struct {
	identities []Identity
	frame      []byte
}

// NewListing encodes the identities in their order. Those that would take the
// answer over MaxFrame are left out.
func NewListing(identities []Identity) *Listing {
	body := make([]byte, headerSize+1+4, 1024)
	n := 0
	for _, id := range identities {
		if len(body)+8+len(id.Blob)+len(id.Comment) > MaxFrame {
			break
		}
		body = sshctx.AppendString(body, id.Blob)
		body = sshctx.AppendString(body, id.Comment)
		n++
	}
	binary.BigEndian.PutUint32(body, uint32(len(body)-headerSize))
	body[headerSize] = msgIdentitiesAnswer
	binary.BigEndian.PutUint32(body[headerSize+1:], uint32(n))
	return &Listing{identities: identities[:n:n], frame: body}
}

// Identities returns what is listed. It must not be changed.
func (l *Listing) Identities() []Identity { return l.identities }

// The messages that are read, for ssh.Unmarshal: their bytes point into what was read.
type (
	signRequest struct {
		Blob, Data []byte `sshtype:"13"`
		Flags      uint32
	}
	removeRequest struct {
		Blob []byte `sshtype:"18"`
	}
	lockRequest struct {
		Passphrase []byte `sshtype:"22|23"` // msgLock, msgUnlock
	}
	extensionRequest struct {
		Name     string `sshtype:"27"`
		Contents []byte `ssh:"rest"`
	}
)

// signResponse is the frame of SSH_AGENT_SIGN_RESPONSE.
func signResponse(signature []byte) []byte {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, headerSize+5+len(signature)), uint32(5+len(signature)))
	return sshctx.AppendString(append(frame, msgSignResponse), signature)
}
