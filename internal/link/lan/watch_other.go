//go:build !linux && !darwin

package lan

import (
	"errors"
	"os"
	"time"
)

const lookEvery = time.Minute

// openChanges is not known here.
func openChanges() (*os.File, error) { return nil, errors.ErrUnsupported }
