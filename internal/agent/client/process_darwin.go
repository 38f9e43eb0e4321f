package client

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// noDevice is NODEV, the terminal of a process that has none.
const noDevice = -1

// ProcessOf asks the kernel (sysctl kern.proc.pid); the name has at most 16
// characters.
func ProcessOf(pid int) (Process, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Process{}, false
	}
	comm, _, _ := bytes.Cut(info.Proc.P_comm[:], []byte{0})
	return Process{
		ID:   ID{PID: pid, Started: info.Proc.P_starttime.Nano()},
		Name: string(comm), Parent: int(info.Eproc.Ppid), Group: int(info.Eproc.Pgid),
		Terminal: info.Eproc.Tdev != noDevice, tty: int64(info.Eproc.Tdev), front: int(info.Eproc.Tpgid),
	}, len(comm) > 0
}

// folderOf returns nothing: there is no sysctl for the working directory.
func folderOf(int) string { return "" }

// Arguments returns the command line's words. They may hold secrets: they are
// compared and not shown.
func Arguments(pid int) []string {
	arguments, _, _ := beginningOf(pid)
	return arguments
}

// environmentOf returns the environment of a process's beginning. Of Apple's own
// programs the kernel may leave it out: it is empty then.
func environmentOf(pid int) ([]string, bool) {
	_, environment, ok := beginningOf(pid)
	return environment, ok
}

// beginningOf asks the kernel for what it keeps of a process's beginning.
func beginningOf(pid int) (arguments, environment []string, ok bool) {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil, nil, false
	}
	return parseProcArgs(b)
}
