package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pin keeps all threads of the processes on the first n processors.
func pin(processors int, pids ...int) error {
	var set unix.CPUSet
	for i := range processors {
		set.Set(i)
	}
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("process %d has no threads: %w", pid, err)
		}
		for _, task := range tasks {
			id, _ := strconv.Atoi(filepath.Base(task))
			if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("keep process %d on %d processors: %w", pid, processors, err)
			}
		}
	}
	return nil
}

// cpuSeconds is what the threads of a process have computed so far.
func cpuSeconds(pid int) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no threads: %w", pid, err)
	}
	total := 0.0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		var nanoseconds float64
		if _, err := fmt.Sscan(string(b), &nanoseconds); err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		total += nanoseconds / 1e9
	}
	return total, nil
}

// memory is a process's resident and proportional set size in bytes. Of a
// process that forbids tracing, as agents do, only root may see the latter: it is
// zero then.
func memory(pid int) (rss, pss float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if errors.Is(err, fs.ErrPermission) {
		rss, err = resident(pid)
		return rss, 0, err
	}
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "Rss:":
			rss = kib * 1024
		case "Pss:":
			pss = kib * 1024
		}
	}
	return rss, pss, nil
}

// resident is the resident set size in bytes, which anybody may see.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return pages * float64(os.Getpagesize()), nil
}
