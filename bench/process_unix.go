//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptors are how many files and sockets this process may have open.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}

// stopPhone stops the phone's process where it stands; the returned function
// lets it go on.
func (w *world) stopPhone() (resume func()) {
	w.must(w.phoneRun.Process.Signal(syscall.SIGSTOP))
	return func() { w.must(w.phoneRun.Process.Signal(syscall.SIGCONT)) }
}
