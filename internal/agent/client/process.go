// Package client tells what this computer knows of a program that uses the
// agent's socket: the process and its parents, its terminal and the line that is
// written there, what it was told on its command line and in ssh's configuration,
// and what known_hosts calls the server. All of it helps a person and proves
// nothing: whoever runs programs here can make it up. The package knows nothing
// of phones and allows nothing; what cannot be found out is left empty.
package client

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"strings"

	"vmux/internal/wire"
)

// maxPrograms bounds how many programs are named to a person.
const maxPrograms = 6

// Process is what the system tells of a process.
type Process struct {
	ID
	Name     string // what is executed, with its path where that is known
	Parent   int    // process ID; 0: none
	Group    int    // process group
	Terminal bool   // it has a controlling terminal
	Forked   bool   // it executes nothing of its own yet, but what its parent has (Linux only)

	tty   int64 // that terminal's device, as the system numbers it
	front int   // that terminal's foreground process group
}

// ID is of one process: a process ID alone may be given to a later one.
type ID struct {
	PID     int
	Started int64 // in a unit of the system's
}

// Runs reports whether the process has not ended yet.
func (id ID) Runs() bool {
	p, ok := ProcessOf(id.PID)
	return ok && p.ID == id
}

// Program is the name of what is executed, without its path.
func (p Process) Program() string { return filepath.Base(p.Name) }

// Programs names the process and its parents, nearest first. Names are what is
// executed, not arguments, which may hold secrets. The first process of the
// system is left out.
func Programs(pid int) []string {
	var list []string
	for len(list) < maxPrograms && pid > 1 {
		p, ok := ProcessOf(pid)
		if !ok {
			break
		}
		list = append(list, wire.Show(p.Program()))
		pid = p.Parent
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
