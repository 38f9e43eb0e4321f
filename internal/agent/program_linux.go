package agent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// programOf reads /proc (proc_pid_stat(5)). The executable's path tells more
// than its 15-character name, where it may be read.
func programOf(pid int) (name string, parent int, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, false
	}
	// The name stands in parentheses and may hold some itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0, false
	}
	name = string(stat[open+1 : end])
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return "", 0, false
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		name = strings.TrimSuffix(exe, " (deleted)")
	}
	return name, parent, true
}
