package state

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// replace is as good as Windows allows: MoveFileEx replaces a file, though a
// power cut in the middle is not promised to leave either.
func replace(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func syncFolder(string) error { return nil }

func lockFile(path string) (func(), error) {
	return lock(path, windows.LOCKFILE_EXCLUSIVE_LOCK)
}

func claimFile(path string) (func(), error) {
	release, err := lock(path, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, ErrClaimed
	}
	return release, err
}

func lock(path string, how uint32) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var o windows.Overlapped
	if err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &o); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// checkOwner leaves it to the profile folder's access control list.
func checkOwner(string, fs.FileInfo) error { return nil }
