package sshagent

import (
	"encoding/binary"
	"errors"

	"vmux/internal/sshctx"
)

// The extensions that are answered, by their names on the wire.
const (
	extensionQuery       = "query"                    // RFC 9987
	extensionSessionBind = "session-bind@openssh.com" // OpenSSH PROTOCOL.agent
)

// queryFrame answers `query`: the names of all extensions.
var queryFrame = extensionResponse(extensionQuery, extensionQuery, extensionSessionBind)

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
func (c *client) extension(msg []byte) []byte {
	name, contents, ok := cutString(msg[1:])
	if !ok {
		return failureFrame
	}
	switch string(name) {
	case extensionQuery:
		if len(contents) != 0 {
			return extensionFailureFrame
		}
		return queryFrame
	case extensionSessionBind:
		b, err := parseBinding(contents)
		if errors.Is(err, sshctx.ErrHostKey) { // kept, and whoever reads it sees that it proves nothing
			c.server.cfg.Log.Info("session binding by a host key that cannot be read", "pid", c.peer.PID, "type", sshctx.KeyType(b.HostKey))
			err = nil
		}
		c.unproven = c.unproven || err != nil
		if err != nil || !c.bind(b) {
			c.server.cfg.Log.Warn("session binding refused", "pid", c.peer.PID, "err", err)
			return extensionFailureFrame
		}
		return successFrame
	}
	return failureFrame
}
