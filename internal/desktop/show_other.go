//go:build !linux && !darwin

package desktop

import "context"

// Show knows no desktop here.
func Show(context.Context, string, string) error { return nil }
