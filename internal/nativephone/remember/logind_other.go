//go:build !linux

package remember

import (
	"context"
	"log/slog"
)

// WatchLogind is for systems with logind.
func WatchLogind(context.Context, func(), *slog.Logger) {}
