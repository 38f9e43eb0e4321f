//go:build !linux && !darwin

package terminal

import "errors"

var errNoTerminal = errors.New("approval on a terminal is not built for this system")

func keystrokes(int) (restore func(), err error) { return nil, errNoTerminal }

func readKeys(int, []byte) (int, error) { return 0, errNoTerminal }
