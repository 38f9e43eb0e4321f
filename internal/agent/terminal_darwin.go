package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

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

// environmentOf reads what the kernel keeps of a process's beginning
// (KERN_PROCARGS2): the number of arguments, the program's path, zeros, the
// arguments, the environment. Of Apple's own programs it may leave out the
// environment; there is no hint then, since it may say that none is wanted.
func environmentOf(pid int) ([]string, bool) {
	b := argumentsOf(pid)
	if len(b) < 4 {
		return nil, false
	}
	count := int(binary.LittleEndian.Uint32(b))
	_, rest, found := bytes.Cut(b[4:], []byte{0})
	words := strings.Split(string(bytes.TrimLeft(rest, "\x00")), "\x00")
	if !found || count < 0 || count >= len(words) {
		return nil, false
	}
	return words[count:], true
}
