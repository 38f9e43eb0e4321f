package agent

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// noDevice is NODEV, the terminal of a process that has none.
const noDevice = -1

// processOf asks the kernel (sysctl kern.proc.pid); the name has at most 16
// characters.
func processOf(pid int) (process, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, false
	}
	comm, _, _ := bytes.Cut(info.Proc.P_comm[:], []byte{0})
	return process{
		name: string(comm), parent: int(info.Eproc.Ppid), group: int(info.Eproc.Pgid),
		terminal: info.Eproc.Tdev != noDevice, tty: int64(info.Eproc.Tdev), front: int(info.Eproc.Tpgid),
		started: info.Proc.P_starttime.Nano(),
	}, len(comm) > 0
}

// argumentsOf returns the command line as the kernel keeps it
// (KERN_PROCARGS2). It may hold secrets: it is compared and nothing else.
func argumentsOf(pid int) []byte {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil
	}
	return b
}
