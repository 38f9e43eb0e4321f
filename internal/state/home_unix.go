//go:build !darwin && !windows

package state

import (
	"os"
	"path/filepath"
)

// platformFolder follows the XDG Base Directory Specification.
func platformFolder() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vmux"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "vmux"), nil
}

// configFolder is ~/.config.
func configFolder() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".config"), err
}
