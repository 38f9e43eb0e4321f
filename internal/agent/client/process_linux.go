package client

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	// maxArguments bounds what is read of a command line: as much as execve(2)
	// takes of one argument.
	maxArguments = 128 << 10
	// maxEnvironment bounds what is read of a process's environment, in bytes.
	maxEnvironment = 1 << 20
)

// looking has one process looked at after the other: a crowd of clients that had a file each
// open would take the descriptors that the agent keeps for itself.
var looking sync.Mutex

// ProcessOf reads /proc (proc_pid_stat(5)). The executable's path tells more
// than its 15-character name, where it may be read.
func ProcessOf(pid int) (Process, bool) {
	looking.Lock()
	defer looking.Unlock()
	folder := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return Process{}, false
	}
	p, ok := parseStat(stat)
	p.PID = pid
	if exe, err := os.Readlink(folder + "/exe"); ok && err == nil {
		p.Name = strings.TrimSuffix(exe, " (deleted)")
	}
	return p, ok
}

// forkNoExec is PF_FORKNOEXEC of the kernel's sched.h.
const forkNoExec = 0x40

func parseStat(stat []byte) (Process, bool) {
	// The name stands in parentheses and may hold some itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	// Counted from the third field, the state.
	const parent, group, terminal, front, flags, started = 1, 2, 4, 5, 6, 19
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) <= started {
		return Process{}, false
	}
	var failed error
	number := func(field int) int64 {
		n, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			failed = err
		}
		return n
	}
	p := Process{
		ID:   ID{Started: number(started)},
		Name: string(stat[open+1 : end]), Parent: int(number(parent)), Group: int(number(group)),
		Terminal: number(terminal) != 0, tty: number(terminal), front: int(number(front)),
	}
	p.Forked = number(flags)&forkNoExec != 0
	if failed != nil {
		return Process{}, false
	}
	return p, true
}

// folderOf returns the working directory, "" if it cannot be told.
func folderOf(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return ""
	}
	return path
}

// Arguments returns the command line's words. They may hold secrets: they are
// compared and not shown.
func Arguments(pid int) []string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxArguments)) // a part tells as well
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// environmentOf reads the environment of a process of this user's, as it was at
// its start.
func environmentOf(pid int) ([]string, bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Getuid() {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxEnvironment))
	return strings.Split(string(b), "\x00"), err == nil && len(b) < maxEnvironment
}
