//go:build !linux && !darwin

package agent

import "context"

// desktopNotify knows no desktop here.
func desktopNotify(context.Context, string, string) error { return nil }
