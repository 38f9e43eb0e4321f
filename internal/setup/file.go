package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vmux/internal/state"
)

// maxFile bounds what is read of a person's file: all of it is written again.
const maxFile = 4 << 20

// file is a file of a person as it is now.
type file struct {
	path  string // where it lies: a symbolic link is followed and stays
	there bool
	text  string
	mode  fs.FileMode
	other bool // it is another user's
}

// unchangeable is the error of a file that a person, or a program of theirs, keeps
// from being changed.
type unchangeable struct{ path, why string }

func (u *unchangeable) Error() string { return u.path + " " + u.why }

// cause is an error without the paths that the system's calls were about.
func cause(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// look reads a file. One that is not there is no error.
func look(path string) (*file, error) {
	at, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Readlink(path); err == nil {
			return nil, &unchangeable{path, "is a symbolic link that leads to no file"}
		}
		return &file{path: path, mode: 0o600}, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(at)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, &unchangeable{path, "is no regular file"}
	case info.Size() > maxFile:
		return nil, &unchangeable{path, fmt.Sprintf("is over %d bytes", maxFile)}
	}
	b, err := os.ReadFile(at)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, &unchangeable{path, "is no text"}
	}
	return &file{path: at, there: true, text: string(b), mode: info.Mode().Perm(), other: state.CheckOwner(at, info) != nil}, nil
}

// changeable reports why the file must not be changed. Whoever took the permission to
// write from it, as home-manager does, did so to have it left alone: that it could be
// replaced all the same, as root or by the folder's permissions, is no reason to. Another
// user's would become this one's.
func (f *file) changeable() error {
	if f.there && f.mode&0o200 == 0 {
		return &unchangeable{f.path, "cannot be written to"}
	}
	if f.other {
		return &unchangeable{f.path, "belongs to another user"}
	}
	return nil
}

// write replaces the file as a whole, with the permissions that it has.
func (f *file) write(text string) error {
	if err := f.changeable(); err != nil {
		return err
	}
	return state.WriteFile(f.path, []byte(text), f.mode)
}

// without takes out a piece, which has to stand there exactly once. The line that begins
// its table or host stays if a person wrote something below: that would go to another.
func without(text, piece string) (string, bool) {
	before, after, _ := strings.Cut(text, piece)
	for _, heading := range []string{agentTable, allHosts, gitInclude} {
		gap, setting, found := strings.Cut(strings.ReplaceAll(piece, marked, ""), heading)
		if found && setting != "" && strings.Trim(gap, "\n") == "" && belongs(after) {
			before += gap + heading
		}
	}
	return before + after, strings.Count(text, piece) == 1
}

// belongs reports whether a text begins with lines of the table or host before it.
func belongs(text string) bool {
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.Join(strings.Fields(strings.ToLower(line)), " "), " ")
		if word != "" && word[0] != '#' {
			return word[0] != '[' && word != "host" && word != "match"
		}
	}
	return false
}

// appended is what has to be added to a text so that lines stand at its end.
func appended(text, lines string) string {
	switch {
	case text == "":
		return strings.TrimLeft(lines, "\n")
	case !strings.HasSuffix(text, "\n"):
		return "\n" + lines
	}
	return lines
}
