//go:build unix

package doctor

import (
	"io/fs"
	"os"
	"syscall"
)

// owned reports whether a file is this user's, or, if that does as well, root's.
func owned(info fs.FileInfo, orRoots bool) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(s.Uid) == os.Geteuid() || orRoots && s.Uid == 0
}
