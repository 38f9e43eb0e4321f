//go:build unix

package phone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrRunning is returned when the phone runs already.
var ErrRunning = errors.New("`vmux phone run` is running already on this state")

func tryLock(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, ".run"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the phone: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, ErrRunning
	}
	return func() { f.Close() }, nil
}
