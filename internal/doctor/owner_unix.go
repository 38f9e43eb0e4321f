//go:build unix

package doctor

import (
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// owned reports whether a file is this user's, or, if that does as well, root's.
func owned(info fs.FileInfo, orRoots bool) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(s.Uid) == os.Geteuid() || orRoots && s.Uid == 0
}

// othersMode is a file's mode without what a group may in which nobody but this user is, as
// many systems make one for each user: with their umask of 002 all files are open to it.
func othersMode(info fs.FileInfo) fs.FileMode {
	mode := info.Mode().Perm()
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || mode&0o020 == 0 {
		return mode
	}
	me, err := user.Current()
	groups, err2 := os.ReadFile("/etc/group")
	users, err3 := os.ReadFile("/etc/passwd")
	if err == nil && err2 == nil && err3 == nil && private(me.Username, strconv.Itoa(int(s.Gid)), string(groups), string(users)) {
		mode &^= 0o020
	}
	return mode
}

// private reports whether nobody but the user is in a group (group(5), passwd(5)). Of one that
// the files do not have, it is not known.
func private(name, gid, groups, users string) bool {
	for line := range strings.Lines(users) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 3 && f[3] == gid && f[0] != name {
			return false
		}
	}
	for line := range strings.Lines(groups) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 3 && f[2] == gid {
			return f[0] == name && (f[3] == "" || f[3] == name)
		}
	}
	return false
}
