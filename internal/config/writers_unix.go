//go:build !windows

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// checkWriters refuses a file that others can change, as OpenSSH does with
// ~/.ssh/config: they could name a hub of their own, or switch off what protects.
// Root's is taken, since root can do all this anyway.
func (f *file) checkWriters(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return f.errorf(0, "a file of your own, or --config none", "belongs to user %d, who could change what holds for you", st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return f.errorf(0, "chmod go-w "+f.path, "others can write to it, and so change what holds for you")
	}
	return nil
}
