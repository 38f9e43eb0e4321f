//go:build darwin || windows

package state

import (
	"os"
	"path/filepath"
)

// platformFolder is ~/Library/Application Support on macOS and %AppData% on
// Windows.
func platformFolder() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "vmux"), nil
}
