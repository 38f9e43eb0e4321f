package agent

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxArguments bounds what is read of a command line: as much as execve(2)
// takes of one argument.
const maxArguments = 128 << 10

// processOf reads /proc (proc_pid_stat(5)). The executable's path tells more
// than its 15-character name, where it may be read.
func processOf(pid int) (process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(stat)
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); ok && err == nil {
		p.name = strings.TrimSuffix(exe, " (deleted)")
	}
	return p, ok
}

func parseStat(stat []byte) (process, bool) {
	// The name stands in parentheses and may hold some itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	// Counted from the third field, the state.
	const parent, group, terminal, front, started = 1, 2, 4, 5, 19
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) <= started {
		return process{}, false
	}
	var numbers [started + 1]int64
	for _, i := range []int{parent, group, terminal, front, started} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return process{}, false
		}
		numbers[i] = n
	}
	return process{
		name: string(stat[open+1 : end]), parent: int(numbers[parent]), group: int(numbers[group]),
		terminal: numbers[terminal] != 0, tty: numbers[terminal], front: int(numbers[front]),
		started: numbers[started],
	}, true
}

// argumentsOf returns the command line. It may hold secrets: it is compared and
// nothing else.
func argumentsOf(pid int) []byte {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxArguments)) // a part tells as well
	return b
}
