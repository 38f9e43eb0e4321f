package control

import (
	"net"

	"vmux/internal/sshagent"
)

// checkServer refuses a socket that somebody else serves: it would be told
// whom to unpair, and could hand out an invitation of its own.
func checkServer(c net.Conn) error {
	_, err := sshagent.CheckPeer(c)
	return err
}
