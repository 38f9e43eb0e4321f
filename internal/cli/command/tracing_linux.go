package command

import "golang.org/x/sys/unix"

// ForbidTracing keeps other programs of the same user from reading this process's
// memory, as ssh-agent does (prctl(2), PR_SET_DUMPABLE). There is no core dump
// either. Root can do it all the same.
func ForbidTracing() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
