package terminal

import (
	"os"
	"time"

	"golang.org/x/term"
)

// File is a terminal that this process has open.
type File struct{ *os.File }

// Keystrokes implements Device.
func (f File) Keystrokes() (restore func(), err error) { return keystrokes(int(f.Fd())) }

// ReadKeys implements Device.
func (f File) ReadKeys(b []byte) (int, error) {
	const tooSoon = 10 * time.Millisecond // nothing was typed, and yet it did not wait: hung up
	began := time.Now()
	n, err := readKeys(int(f.Fd()), b)
	if n == 0 && time.Since(began) < tooSoon {
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// Columns implements Device.
func (f File) Columns() int {
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
