package agent

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"strings"

	"vmux/internal/wire"
)

// maxPrograms bounds how far the chain of parents is followed.
const maxPrograms = 6

// process is what the system tells of a process.
type process struct {
	name     string // what is executed, with its path where that is known
	parent   int
	group    int   // process group
	terminal bool  // it has a controlling terminal
	tty      int64 // that terminal's device, as the system numbers it
	front    int   // that terminal's foreground process group
	started  int64 // in a unit of the system's; with the process ID it is unique
}

// programsOf names the process and its parents, nearest first: a claim that
// helps a person, and no proof. Names are what is executed, not arguments,
// which may hold secrets. The first process of the system is left out.
func programsOf(pid int) []string {
	var list []string
	for len(list) < maxPrograms && pid > 1 {
		p, ok := processOf(pid)
		if !ok {
			break
		}
		list = append(list, wire.Show(filepath.Base(p.name)))
		pid = p.parent
	}
	return list
}

// parseProcArgs reads macOS's KERN_PROCARGS2: the number of arguments, the program's
// path, zeros, the arguments, the environment. Of Apple's own programs the last may
// be missing.
func parseProcArgs(b []byte) (arguments, environment []string, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	count := int(int32(binary.LittleEndian.Uint32(b)))
	_, rest, found := bytes.Cut(b[4:], []byte{0})
	words := strings.Split(string(bytes.TrimLeft(rest, "\x00")), "\x00")
	if !found || count < 0 || count >= len(words) {
		return nil, nil, false
	}
	return words[:count], words[count:], true
}
