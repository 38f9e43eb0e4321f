package terminal

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// WriteTime is how long a terminal may take nothing of what is written to it: it has been
// stopped by ^S, or what it stood on is gone, and nobody waits for it (tmux pull request 5444).
const WriteTime = 3 * time.Second

// notNow is an ErrHungUp of a terminal that can be asked again later.
type notNow string

const (
	errStuck      notNow = "the terminal takes nothing (^Q)"
	errBackground notNow = "vmux is in the background (fg)"
)

func (n notNow) Error() string { return string(n) }

// Is implements what errors.Is asks.
func (notNow) Is(target error) bool { return target == ErrHungUp }

// File is a terminal that this process has open.
type File struct {
	tty   *os.File    // not embedded: io.WriteString would go by its own methods
	stuck atomic.Bool // the last that was written was not taken
}

// NewFile makes one of a terminal that was opened elsewhere.
func NewFile(tty *os.File) *File { return &File{tty: tty} }

// Keystrokes implements Device.
func (f *File) Keystrokes() (restore func(), err error) { return keystrokes(int(f.tty.Fd())) }

// ReadKeys implements Device.
func (f *File) ReadKeys(b []byte) (int, error) {
	const tooSoon = 10 * time.Millisecond // nothing was typed, and yet it did not wait: hung up
	began := time.Now()
	n, err := readKeys(int(f.tty.Fd()), b)
	if n == 0 && time.Since(began) < tooSoon {
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// Write implements Device. It waits for WriteTime at most, and once that was in vain not
// at all until something is taken again.
func (f *File) Write(b []byte) (int, error) {
	patience := WriteTime
	if f.stuck.Load() {
		patience = 0
	}
	n, err := write(int(f.tty.Fd()), b, patience)
	f.stuck.Store(errors.Is(err, errStuck))
	return n, err
}

// Columns implements Device.
func (f *File) Columns() int {
	columns, _, err := term.GetSize(int(f.tty.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
