//go:build linux || darwin

package terminal

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lineMode is what a terminal does by itself when a line is typed on it.
const lineMode = unix.ICANON | unix.ECHO

// OpenFile opens the terminal that controls this process. What is written to it never
// waits: see File.
func OpenFile() (*File, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return NewFile(tty), nil
}

// keystrokes switches the terminal to single keys without echo, and throws away
// what was typed before. Reading then waits for a tenth of a second at most:
// VMIN 0 and VTIME 1 (termios(3)), so no goroutine hangs in a read that cannot
// be interrupted. Signals such as ^C and line feeds stay as they are.
func keystrokes(fd int) (restore func(), err error) {
	if inBackground(fd) {
		return nil, errBackground
	}
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
	return func() {
		if !inBackground(fd) { // else it is the shell's, in the shell's mode
			_ = unix.IoctlSetTermios(fd, setTermiosFlush, old)
		}
	}, nil
}

// inBackground reports whether the terminal belongs to another job of the shell's at the
// time, after & or ^Z and bg. Whoever changes its mode or reads there then is stopped
// (SIGTTOU, SIGTTIN), and a stopped phone serves nobody.
func inBackground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
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
	if err == nil && inBackground(fd) {
		err = errBackground
	}
	if err != nil {
		return 0, err
	}
	if ready, err := waits(fd, false, 100*time.Millisecond); err != nil || !ready {
		return 0, err
	}
	n, err := unix.Read(fd, b)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}

// write writes all of b, unless the terminal takes nothing for so long.
func write(fd int, b []byte, patience time.Duration) (n int, err error) {
	for began := time.Now(); n < len(b); {
		left := max(0, patience-time.Since(began))
		ready, err := waits(fd, true, left)
		switch {
		case err != nil:
			return n, err
		case !ready && left == 0:
			return n, errStuck
		case !ready:
			continue // a signal came
		}
		m, err := unix.Write(fd, b[n:])
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		if m > 0 {
			n, began = n+m, time.Now()
		}
	}
	return n, nil
}

// waits until there is something to be read, or something may be written, for so long
// at most.
func waits(fd int, toWrite bool, most time.Duration) (ready bool, err error) {
	var set unix.FdSet
	set.Set(fd)
	read, written := &set, (*unix.FdSet)(nil)
	if toWrite {
		read, written = nil, &set
	}
	timeout := unix.NsecToTimeval(most.Nanoseconds())
	n, err := unix.Select(fd+1, read, written, nil, &timeout)
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return n > 0, err
}
