//go:build linux || darwin

package terminal

import (
	"errors"

	"golang.org/x/sys/unix"
)

// keystrokes switches the terminal to single keys without echo, and throws away
// what was typed before. Reading then waits for a tenth of a second at most:
// VMIN 0 and VTIME 1 (termios(3)), so no goroutine hangs in a read that cannot
// be interrupted. Signals such as ^C and line feeds stay as they are.
func keystrokes(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	keys := *old
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(fd, setTermiosFlush, &keys); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermiosFlush, old) }, nil
}

// readKeys returns what has been typed, perhaps nothing, within a tenth of a
// second.
func readKeys(fd int, b []byte) (int, error) {
	n, err := unix.Read(fd, b)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}
