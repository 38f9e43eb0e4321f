package agent

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const getTermios = unix.TIOCGETA

// majorPTY is the major number of /dev/ttysNNN.
const majorPTY = 16

// terminalOf returns the controlling terminal's path and device number.
func terminalOf(_ int, p process) (path string, device uint64) {
	device = uint64(uint32(p.tty))
	if unix.Major(device) != majorPTY {
		return "", 0
	}
	return fmt.Sprintf("/dev/ttys%03d", unix.Minor(device)), device
}

// environmentOf returns the environment of a process's beginning. Of Apple's own
// programs the kernel may leave it out; there is no hint then, since it may say that
// none is wanted.
func environmentOf(pid int) ([]string, bool) {
	_, environment, ok := beginningOf(pid)
	return environment, ok
}
