package agent

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// programOf asks the kernel (sysctl kern.proc.pid); the name has at most 16
// characters.
func programOf(pid int) (name string, parent int, ok bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", 0, false
	}
	comm, _, _ := bytes.Cut(info.Proc.P_comm[:], []byte{0})
	return string(comm), int(info.Eproc.Ppid), len(comm) > 0
}
