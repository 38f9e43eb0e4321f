//go:build unix

package sshagent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"vmux/internal/wire"
)

// firstPassed is the first descriptor that a service manager hands over
// (sd_listen_fds(3), SD_LISTEN_FDS_START).
const firstPassed = 3

// Activated returns the socket that a service manager has opened for this process,
// and nil if none has. Its file is the service manager's and stays: who connects
// while no agent runs waits for one. It can be called once.
func Activated() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	number := os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // programs that this one starts are handed nothing
	}
	if number != "1" {
		return nil, wire.WithHint(fmt.Errorf("the service manager hands over %s sockets", number), "one ListenStream= in the socket unit")
	}
	unix.CloseOnExec(firstPassed)
	f := os.NewFile(firstPassed, "socket of the service manager")
	defer f.Close() // what follows has a descriptor of its own
	l, err := net.FileListener(f)
	if err == nil && l.Addr().Network() != "unix" {
		err = errors.Join(fmt.Errorf("it is of %s", l.Addr()), l.Close())
	}
	if err != nil {
		return nil, wire.WithHint(fmt.Errorf("the service manager's socket is none for SSH clients: %w", err), "ListenStream= with a path in the socket unit")
	}
	return l, nil
}
