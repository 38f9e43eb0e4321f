// Package filelock locks a file for one process. The lock ends when the file is
// closed or the process ends, however it ends. The file stays: removing it would
// let two processes lock two files of the same name.
package filelock

import (
	"errors"
	"os"
)

// ErrHeld tells that another process holds the lock.
var ErrHeld = errors.New("another process holds the lock")

// Lock opens the file, which is made if it is missing, and waits for the lock. A
// symbolic link is an error.
func Lock(path string) (*os.File, error) { return open(path, true) }

// TryLock is Lock, but returns ErrHeld where it would wait.
func TryLock(path string) (*os.File, error) { return open(path, false) }

func open(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, wait); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
