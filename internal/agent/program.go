package agent

import (
	"path/filepath"

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
