package tcp

import "syscall"

// limit sets the segment size of a socket before it connects or listens. A socket
// without one works too, on most paths.
func limit(c syscall.RawConn, segment int) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, segment)
	})
}
