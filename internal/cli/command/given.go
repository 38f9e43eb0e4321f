package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"

	"vmux/internal/wire"
)

// This file tells values that cannot be from work that failed: exit status 2 and
// not 1, so that a script which calls vmux again and again knows when that is
// of no use.

// Wrong is an error whose cause is a value on the command line, with what would
// be right; nil for none.
func Wrong(err error, hint string, args ...any) error {
	if err == nil {
		return nil
	}
	return Usage(Sentence(err), fmt.Sprintf(hint, args...))
}

// WrongFile is an error about a file that was named on the command line: wrong if
// there is no such file, or a folder in its place, and else a failure.
func WrongFile(err error, hint string, args ...any) error {
	for _, absent := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.EISDIR} {
		if errors.Is(err, absent) {
			return Wrong(err, hint, args...)
		}
	}
	return OrHint(err, hint, args...)
}

// CheckListen finds what is no HOST:PORT before anything is opened. A host by
// name is looked up when it is used.
func CheckListen(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return Usagef("%s accepts HOST:PORT with a port up to 65535, not %s", flag, wire.Show(address))
	}
	return nil
}

// CheckName reports why a device cannot be called that; empty is the host name.
func CheckName(name string) error {
	if len(name) > wire.MaxNameSize || !wire.Printable(name) || strings.TrimSpace(name) != name {
		return Usagef("--name accepts at most %d bytes of printable text", wire.MaxNameSize)
	}
	return nil
}
