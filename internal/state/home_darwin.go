package state

import (
	"os"
	"path/filepath"
)

// platformFolder is ~/Library/Application Support/vmux.
func platformFolder() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "vmux"), nil
}

// configFolder is ~/Library/Application Support.
func configFolder() (string, error) { return os.UserConfigDir() }
