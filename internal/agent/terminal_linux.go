package agent

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const getTermios = unix.TCGETS

// maxEnvironment bounds what is read of a process's environment, in bytes.
const maxEnvironment = 1 << 20

// Majors of the kernel's list of devices (admin-guide/devices.txt).
const (
	majorConsole = 4 // below minor 64: /dev/ttyN
	majorPTY     = 136
)

// terminalOf returns the controlling terminal's path and device number. In
// another mount namespace, as in a container, the same number may be another
// terminal: there is none then.
func terminalOf(pid int, p process) (path string, device uint64) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
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

// environmentOf reads the environment of a process of this user's, as it was at
// its start.
func environmentOf(pid int) ([]string, bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Getuid() {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxEnvironment))
	return strings.Split(string(b), "\x00"), err == nil && len(b) < maxEnvironment
}
