//go:build !linux && !darwin

package terminal

import (
	"errors"
	"time"
)

var errNoTerminal = errors.New("approval on a terminal is not built for this system")

// OpenFile fails.
func OpenFile() (*File, error) { return nil, errNoTerminal }

func keystrokes(int) (restore func(), err error) { return nil, errNoTerminal }

func readKeys(int, []byte) (int, error) { return 0, errNoTerminal }

func write(int, []byte, time.Duration) (int, error) { return 0, errNoTerminal }
