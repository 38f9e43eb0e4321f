package state

import (
	"os"
	"path/filepath"
)

// platformFolder is %LocalAppData%\vmux: keys must not roam with the profile.
func platformFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "vmux"), nil
}

// configFolder is %AppData%.
func configFolder() (string, error) { return os.UserConfigDir() }
