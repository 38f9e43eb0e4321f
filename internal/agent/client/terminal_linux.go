package client

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const getTermios = unix.TCGETS

// Majors of the kernel's list of devices (admin-guide/devices.txt).
const (
	majorConsole = 4 // below minor 64: /dev/ttyN
	majorPTY     = 136
)

// terminalOf returns the controlling terminal's path and device number. In
// another mount namespace, as in a container, the same number may be another
// terminal: there is none then.
func terminalOf(p Process) (path string, device uint64) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
	ours, err2 := os.Readlink("/proc/self/ns/mnt")
	if err != nil || err2 != nil || theirs != ours {
		return "", 0
	}
	// The 32 bits of new_encode_dev (proc_pid_stat(5), tty_nr).
	n := uint32(p.tty)
	major, minor := n>>8&0xfff, n&0xff|n>>12&0xfff00
	switch {
	case major == majorPTY:
		path = fmt.Sprintf("/dev/pts/%d", minor)
	case major == majorConsole && minor < 64:
		path = fmt.Sprintf("/dev/tty%d", minor)
	}
	return path, unix.Mkdev(major, minor)
}
