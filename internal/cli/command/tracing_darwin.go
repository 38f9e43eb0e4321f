package command

import "golang.org/x/sys/unix"

// ForbidTracing keeps debuggers of the same user off this process, as ssh-agent
// does (ptrace(2), PT_DENY_ATTACH). Root can do it all the same.
func ForbidTracing() error { return unix.PtraceDenyAttach() }
