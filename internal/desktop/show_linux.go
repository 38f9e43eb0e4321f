package desktop

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"

	"github.com/godbus/dbus/v5"
)

// Show shows a notification by the Desktop Notifications Specification
// (org.freedesktop.Notifications). Without a session bus it fails; it never
// starts one, nor a program to show it.
func (o *Own) Show(ctx context.Context, title, text string) (id uint32, err error) {
	err = onBus(ctx, func(owner string, call caller) error {
		var capabilities []string
		if err := call("GetCapabilities").Store(&capabilities); err != nil {
			return fmt.Errorf("ask the desktop what it can show: %w", err)
		}
		// Other hosts choose some of the words. They must not draw links or pictures.
		if slices.Contains(capabilities, "body-markup") {
			text = html.EscapeString(text)
		}
		err := call("Notify", title, uint32(0), "dialog-password", title, text,
			[]string{}, map[string]dbus.Variant{}, int32(-1)).Store(&id)
		if err == nil {
			o.by[id] = owner
		}
		return err
	})
	return id, err
}

// Close takes a notification back. What was shown by a program that has been started anew
// since is gone, and its ID may be another program's notification now.
func (o *Own) Close(ctx context.Context, id uint32) error {
	by := o.by[id]
	delete(o.by, id)
	return onBus(ctx, func(owner string, call caller) error {
		if owner != by {
			return nil
		}
		return call("CloseNotification", id).Err
	})
}

// caller calls a method of the service that shows notifications.
type caller func(method string, args ...any) *dbus.Call

// onBus tells do the bus's own name of the program that shows notifications, which is
// another one for each that was started.
func onBus(ctx context.Context, do func(owner string, call caller) error) error {
	address, err := SessionBus()
	if err != nil {
		return err
	}
	bus, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to the session bus: %w", err)
	}
	defer bus.Close()
	var owner string
	if err := bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, "org.freedesktop.Notifications").Store(&owner); err != nil {
		return fmt.Errorf("nothing shows notifications: %w", err)
	}
	if err := do(owner, func(method string, args ...any) *dbus.Call {
		return bus.Object(owner, "/org/freedesktop/Notifications").
			CallWithContext(ctx, "org.freedesktop.Notifications."+method, dbus.FlagNoAutoStart, args...)
	}); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// SessionBus is the address of the user's bus. Where it is not told, as in a shell
// of an SSH login or of a multiplexer that is older than the desktop's session, it
// stands where the D-Bus libraries look for it: github.com/godbus/dbus issue 372.
func SessionBus() (string, error) {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address, nil
	}
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus")
	if info, err := os.Stat(path); !filepath.IsAbs(path) || err != nil || info.Mode().Type() != os.ModeSocket {
		return "", errors.New("no session bus")
	}
	return "unix:path=" + dbus.EscapeBusAddressValue(path), nil
}
