package main

import (
	"context"
	"log/slog"
)

// enter has nothing to look for: there is a menu bar in every session.
func enter(context.Context, func(), *slog.Logger) error { return nil }
