//go:build linux || darwin

package terminal

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// lineMode is what a terminal does by itself when a line is typed on it.
const lineMode = unix.ICANON | unix.ECHO

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
	keys.Lflag &^= lineMode
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(fd, setTermiosFlush, &keys); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermiosFlush, old) }, nil
}

// readKeys returns what has been typed, perhaps nothing, within a tenth of a
// second. A shell that goes on with a stopped job (fg) gives it the terminal in the
// shell's own mode, which would show a passphrase: that is undone. Until then the read
// could wait for a whole line, so it is not begun before there is something.
func readKeys(fd int, b []byte) (int, error) {
	mode, err := unix.IoctlGetTermios(fd, getTermios)
	if err == nil && mode.Lflag&lineMode != 0 {
		_, err = keystrokes(fd)
	}
	if err != nil {
		return 0, err
	}
	var ready unix.FdSet
	ready.Set(fd)
	wait := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	if n, err := unix.Select(fd+1, &ready, nil, nil, &wait); errors.Is(err, unix.EINTR) || err == nil && n == 0 {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	n, err := unix.Read(fd, b)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}
