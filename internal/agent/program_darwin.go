package agent

import (
	"bytes"
	"strings"

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

// folderOf returns nothing: there is no sysctl for the working directory.
func folderOf(int) string { return "" }

// argumentsOf returns the command line, a zero byte behind each word. It may hold
// secrets: it is compared and nothing else.
func argumentsOf(pid int) []byte {
	arguments, _, _ := beginningOf(pid)
	if len(arguments) == 0 {
		return nil
	}
	return []byte(strings.Join(arguments, "\x00") + "\x00")
}

// beginningOf asks the kernel for what it keeps of a process's beginning.
func beginningOf(pid int) (arguments, environment []string, ok bool) {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil, nil, false
	}
	return parseProcArgs(b)
}
