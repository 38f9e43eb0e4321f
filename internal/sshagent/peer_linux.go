package sshagent

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf reads SO_PEERCRED (unix(7)).
func peerOf(c net.Conn) (Peer, error) {
	var p Peer
	err := control(c, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			p = Peer{PID: int(cred.Pid), UID: int(cred.Uid)}
		}
		return err
	})
	return p, err
}
