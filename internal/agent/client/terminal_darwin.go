package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const getTermios = unix.TIOCGETA

// majorPTY is the major number of /dev/ttysNNN.
const majorPTY = 16

// terminalOf returns the controlling terminal's path and device number.
func terminalOf(p Process) (path string, device uint64) {
	device = uint64(uint32(p.tty))
	if unix.Major(device) != majorPTY {
		return "", 0
	}
	return fmt.Sprintf("/dev/ttys%03d", unix.Minor(device)), device
}
