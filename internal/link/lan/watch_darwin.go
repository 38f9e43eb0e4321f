package lan

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is there because this system drops what does not fit into the socket's
// buffer in silence (n0-computer/net-tools 158).
const lookEvery = time.Minute

// openChanges opens a socket that can be read from when a route, an interface or an
// address has changed (route(4)).
func openChanges() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "route"), nil
}
