//go:build unix

package main

import "syscall"

// stopPhone stops the phone's process where it stands; the returned function
// lets it go on.
func (w *world) stopPhone() (resume func()) {
	w.must(w.phoneRun.Process.Signal(syscall.SIGSTOP))
	return func() { w.must(w.phoneRun.Process.Signal(syscall.SIGCONT)) }
}
