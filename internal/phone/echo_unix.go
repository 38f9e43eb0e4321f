//go:build linux || darwin

package phone

import "golang.org/x/sys/unix"

// HideEcho switches off the echo of the terminal behind fd. A line is being read
// from it meanwhile by another goroutine, so term.ReadPassword cannot be used.
func HideEcho(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *old
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, setTermios, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, old) }, nil
}
