package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"fyne.io/systray"
	"github.com/godbus/dbus/v5"

	"vmux/internal/desktop"
	"vmux/internal/wire"
)

const (
	ownName = "vmux.Tray" // on the bus: one tray for each session
	// watcherName is whom tray icons are announced to (StatusNotifierItem).
	watcherName = "org.kde.StatusNotifierWatcher"
)

// enter finds the desktop's session, and ends this program with it. It never starts a bus,
// as systray would do. Where the desktop shows no tray yet, it says so: systray announces
// the icon when one comes.
func enter(ctx context.Context, quit func(), logger *slog.Logger) error {
	address, err := desktop.SessionBus()
	if err == nil {
		err = os.Setenv("DBUS_SESSION_BUS_ADDRESS", address) // for systray
	}
	if err != nil {
		return wire.WithHint(err, "start it from the desktop, or in its session")
	}
	bus, err := dbus.Connect(address)
	if err != nil {
		return fmt.Errorf("connect to the session bus: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = bus.Close() })
	context.AfterFunc(bus.Context(), quit)
	switch reply, err := bus.RequestName(ownName, dbus.NameFlagDoNotQueue); {
	case err != nil:
		return fmt.Errorf("ask for a name on the session bus: %w", err)
	case reply != dbus.RequestNameReplyPrimaryOwner:
		return wire.WithHint(fmt.Errorf("vmux-tray is running already in this session"), "choose Quit in its menu, then start it again")
	}
	systray.SetTitle("vmux") // also by which a panel remembers where it is
	log.SetFlags(0)
	log.SetOutput(slogWriter{logger}) // systray's
	var there bool
	if err := bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, watcherName).Store(&there); err == nil && !there {
		logger.Warn("this desktop shows no tray icons: the icon appears when it does; GNOME needs its extension AppIndicator and KStatusNotifierItem Support")
	}
	return nil
}

// slogWriter takes what systray writes to the standard logger.
type slogWriter struct{ log *slog.Logger }

func (w slogWriter) Write(b []byte) (int, error) {
	w.log.Debug(string(b))
	return len(b), nil
}

// desktopGone reports whether a panic of systray is that the session bus is.
func desktopGone(panicked any) bool {
	err, is := panicked.(error)
	return is && errors.Is(err, dbus.ErrClosed)
}
