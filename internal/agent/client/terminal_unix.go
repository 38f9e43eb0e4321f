//go:build linux || darwin

package client

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// usualColumns is assumed of a terminal that does not tell its width.
const usualColumns = 80

// terminal is the open controlling terminal of another process.
type terminal struct {
	fd     int
	device uint64
}

// openTerminal opens the controlling terminal of a process of this user's, if
// something may be written there: the process is in the terminal's foreground,
// the terminal is this user's and takes whole lines (else a program draws the
// screen itself), it knows escape sequences, and VMUX_TTY is not off.
//
// The device's name comes from a number, and could by now be another terminal:
// what was opened is compared. It never becomes this process's own terminal, and
// neither opening nor writing waits.
func openTerminal(pid int) (*terminal, bool) {
	p, ok := ProcessOf(pid)
	if !ok || !p.Terminal || p.Group != p.front || !hintsWanted(pid) {
		return nil, false
	}
	path, device := terminalOf(p)
	if path == "" {
		return nil, false
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, false
	}
	t := &terminal{fd, device}
	if !t.own() || !t.takesLines() {
		t.close()
		return nil, false
	}
	return t, true
}

// own reports whether what is open is that very device, and this user's.
func (t *terminal) own() bool {
	var s unix.Stat_t
	err := unix.Fstat(t.fd, &s)
	return err == nil && s.Mode&unix.S_IFMT == unix.S_IFCHR && uint64(s.Rdev) == t.device && int(s.Uid) == os.Getuid()
}

func (t *terminal) takesLines() bool {
	s, err := unix.IoctlGetTermios(t.fd, getTermios)
	return err == nil && s.Lflag&unix.ICANON != 0
}

// width is the number of columns.
func (t *terminal) width() int {
	size, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return usualColumns
	}
	return int(size.Col)
}

// write writes what the terminal takes at once: one that is stopped (^S) takes
// nothing.
func (t *terminal) write(text string) {
	_, _ = unix.Write(t.fd, []byte(text))
}

func (t *terminal) close() { unix.Close(t.fd) }

// hintsWanted reads the process's environment: VMUX_TTY=off is the user's word,
// and a terminal without a name, or a dumb one, shows escape sequences as text.
func hintsWanted(pid int) bool {
	environment, ok := environmentOf(pid)
	if !ok || slices.Contains(environment, "VMUX_TTY=off") {
		return false
	}
	for _, e := range environment {
		if term, ok := strings.CutPrefix(e, "TERM="); ok {
			return term != "" && term != "dumb"
		}
	}
	return false
}
