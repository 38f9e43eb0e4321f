package agent

import (
	"path/filepath"

	"vmux/internal/wire"
)

// maxPrograms bounds how far the chain of parents is followed.
const maxPrograms = 6

// programsOf names the process and its parents, nearest first: a claim that
// helps a person, and no proof. Names are what is executed, not arguments,
// which may hold secrets. The first process of the system is left out.
func programsOf(pid int) []string {
	var list []string
	for len(list) < maxPrograms && pid > 1 {
		name, parent, ok := programOf(pid)
		if !ok {
			break
		}
		list = append(list, wire.Show(filepath.Base(name)))
		pid = parent
	}
	return list
}
