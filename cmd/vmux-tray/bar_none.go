//go:build !linux && !(darwin && cgo)

package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// showIn says why there is nothing to show it in.
func showIn(context.Context, *control.Client, *slog.Logger) error {
	if runtime.GOOS == "darwin" {
		return wire.WithHint(errors.New("this vmux-tray was built without cgo, which the menu bar needs"), "in the source: make app")
	}
	return errors.New("vmux-tray knows no tray of this system")
}
