package control

import (
	"net"

	"vmux/internal/sshagent"
)

// checkServer refuses a socket that somebody else serves: it would be told
// whom to unpair, and could hand out an invitation of its own.
func checkServer(c net.Conn) error {
	if _, err := sshagent.CheckPeer(c); err != nil {
		return Errorf(CodeOtherUser, "run vmux as the user whose agent it is", "The agent is another user's: %v.", err)
	}
	return nil
}
