package agent

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxArguments bounds what is read of a command line: as much as execve(2)
	// takes of one argument.
	maxArguments = 128 << 10
	// maxStat is more than the name and the numbers take of proc_pid_stat(5) up to
	// the last one that is used.
	maxStat = 1 << 10
)

// processOf reads /proc (proc_pid_stat(5)). The executable's path tells more
// than its 15-character name, where it may be read.
func processOf(pid int) (process, bool) {
	folder := "/proc/" + strconv.Itoa(pid)
	p, ok := parseStat(readStat(folder + "/stat"))
	if exe, err := os.Readlink(folder + "/exe"); ok && err == nil {
		p.name = strings.TrimSuffix(exe, " (deleted)")
	}
	return p, ok
}

// readStat returns the line's beginning, nil if it cannot be read. It calls the
// system directly: package os asks of each file that it opens whether it can be
// waited for, and that takes longer than the line does.
func readStat(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, maxStat)
	n, err := unix.Read(fd, b)
	if err != nil {
		return nil
	}
	return b[:n]
}

func parseStat(stat []byte) (process, bool) {
	// The name stands in parentheses and may hold some itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	// Counted from the third field, the state.
	const parent, group, terminal, front, started = 1, 2, 4, 5, 19
	var numbers [started + 1]int64
	fields, wanted := 0, [started + 1]bool{parent: true, group: true, terminal: true, front: true, started: true}
	for field := range bytes.FieldsSeq(stat[end+1:]) {
		if fields > started {
			break
		}
		if wanted[fields] {
			n, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return process{}, false
			}
			numbers[fields] = n
		}
		fields++
	}
	if fields <= started {
		return process{}, false
	}
	return process{
		name: string(stat[open+1 : end]), parent: int(numbers[parent]), group: int(numbers[group]),
		terminal: numbers[terminal] != 0, tty: numbers[terminal], front: int(numbers[front]),
		started: numbers[started],
	}, true
}

// folderOf returns the working directory, "" if it cannot be told.
func folderOf(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return ""
	}
	return path
}

// argumentsOf returns the command line, a zero byte behind each word. It may hold secrets: it is compared and
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
