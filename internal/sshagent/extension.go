package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// The extensions that are answered, by their names on the wire.
const (
	extensionQuery       = "query"                    // RFC 9987
	ExtensionSessionBind = "session-bind@openssh.com" // OpenSSH PROTOCOL.agent
	// ExtensionPassedOn tells by which agents like this one a request comes, nearest to
	// the client first: their Config.ID, one after the other. It is answered by success,
	// and by an empty answer of its own where the request has come in a circle.
	ExtensionPassedOn = "passed-on@vmux"
)

const (
	// IDSize is the size of a Config.ID, and maxHops how many of them one may tell of.
	IDSize  = 16
	maxHops = 16
)

// queryFrame answers `query`: the names of all extensions.
var queryFrame = extensionResponse(extensionQuery, extensionQuery, ExtensionSessionBind, ExtensionPassedOn)

func extensionResponse(name string, contents ...string) []byte {
	frame := append(make([]byte, headerSize), msgExtensionResponse)
	frame = sshctx.AppendString(frame, name)
	for _, s := range contents {
		frame = sshctx.AppendString(frame, s)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-headerSize))
	return frame
}

// extension answers SSH_AGENTC_EXTENSION, and so also while the agent is
// locked: a session that is bound then is still bound after the unlocking.
func (c *client) extension(ctx context.Context, msg []byte) ([]byte, error) {
	var r extensionRequest
	if ssh.Unmarshal(msg, &r) != nil {
		return failureFrame, nil
	}
	switch r.Name {
	case extensionQuery:
		if len(r.Contents) != 0 {
			return extensionFailureFrame, nil
		}
		return queryFrame, nil
	case ExtensionPassedOn:
		return c.cameBy(r.Contents), nil
	case ExtensionSessionBind:
		// What is kept is a copy: msg is read into again.
		b, err := sshctx.ParseBinding(bytes.Clone(r.Contents))
		if errors.Is(err, sshctx.ErrHostKey) { // kept, and whoever reads it sees that it proves nothing
			c.server.cfg.Log.Info("session binding by a host key that cannot be read", "pid", c.peer.PID, "type", sshctx.KeyType(b.HostKey))
			err = nil
		}
		c.unproven = c.unproven || err != nil
		if err != nil || !c.bind(b) {
			c.server.cfg.Log.Warn("session binding refused", "pid", c.peer.PID, "err", err)
			return extensionFailureFrame, nil
		}
		return successFrame, nil
	}
	return c.passOn(ctx, "", msg)
}

// cameBy keeps the agents that the request comes by.
func (c *client) cameBy(ids []byte) []byte {
	if len(ids)%IDSize != 0 {
		return extensionFailureFrame
	}
	for n := 0; n < len(ids); n += IDSize {
		if bytes.Equal(ids[n:n+IDSize], c.server.cfg.ID) || n/IDSize >= maxHops {
			return extensionResponse(ExtensionPassedOn)
		}
	}
	c.passedBy = bytes.Clone(ids)
	return successFrame
}
