//go:build !unix

package sshagent

import (
	"errors"
	"net"
)

var errNoSocket = errors.New("the agent's socket needs a Unix system")

// Listen fails: this system has no Unix sockets with peer credentials.
func Listen(string) (net.Listener, error) { return nil, errNoSocket }

// Activated returns nothing: no service manager hands over sockets here.
func Activated() (net.Listener, error) { return nil, nil }

// CheckPeer fails, as Listen does.
func CheckPeer(net.Conn) (Peer, error) { return Peer{}, errNoSocket }

// CheckUser fails, as Listen does.
func CheckUser(net.Conn) (Peer, error) { return Peer{}, errNoSocket }

func descriptorLimit() int { return 1 << 16 }

func onHangup(net.Conn) (gone <-chan struct{}, stop func()) { return nil, func() {} }
