package cli

import "golang.org/x/sys/unix"

// forbidTracing keeps debuggers of the same user off this process, as ssh-agent
// does (ptrace(2), PT_DENY_ATTACH). Root can do it all the same.
func forbidTracing() error { return unix.PtraceDenyAttach() }
