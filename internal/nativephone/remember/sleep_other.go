//go:build !linux

package remember

import (
	"context"
	"errors"
)

// BeforeSleep is for systems with logind.
func BeforeSleep(context.Context, func()) error { return errors.New("no logind on this system") }
