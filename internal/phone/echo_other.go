//go:build !linux && !darwin

package phone

import "errors"

// HideEcho fails: on this system passphrases come from --passphrase-file.
func HideEcho(int) (restore func(), err error) {
	return nil, errors.New("this terminal's echo cannot be switched off")
}
