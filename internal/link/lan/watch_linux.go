package lan

import (
	"os"

	"golang.org/x/sys/unix"
)

// lookEvery is 0: what this system does not tell of it says (netlink(7)).
const lookEvery = 0

// openChanges opens a socket that can be read from when an interface or an address
// has changed (rtnetlink(7)).
func openChanges() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(fd), "rtnetlink")
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}
