//go:build !unix

package hub

import (
	"fmt"
	"os"
)

// lockState keeps the file open; where there is no flock it keeps nobody out.
func lockState(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	return f, nil
}
