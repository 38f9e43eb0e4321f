//go:build !windows

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"vmux/internal/wire"
)

// replace writes beside the file: the library would look each time whether the
// system's folder for temporary files will do, which is no place for keys.
func replace(path string, b []byte, mode fs.FileMode) error {
	return renameio.WriteFile(path, b, mode,
		renameio.WithStaticPermissions(mode), renameio.WithTempDir(filepath.Dir(path)))
}

// syncFolder makes a rename or removal outlast a power cut.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return flush(f)
}

// flush waits until a file is on the disk. A file system that knows no such wait says that it
// is invalid, as shares of other machines do (syncthing issue 4432, KeePassXC issue 12079): what
// was written is there all the same.
func flush(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// CheckOwner refuses a folder of another user's in which files are to be made, as sudo has it
// where it keeps HOME.
func CheckOwner(folder string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(st.Uid) != os.Geteuid() {
		return wire.WithHint(fmt.Errorf("%s belongs to user %d, not to you", folder, st.Uid), "run it as that user, without sudo")
	}
	return nil
}

// checkOwner refuses what another user could change.
func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(st.Uid) != os.Geteuid() {
		return wire.WithHint(fmt.Errorf("the state folder %s belongs to user %d, not to you", path, st.Uid), "set VMUX_HOME to a folder of your own, or run vmux as that user")
	}
	return nil
}
