package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

// desktopNotify shows a notification by the Desktop Notifications Specification
// (org.freedesktop.Notifications). Without a session bus it does nothing; it
// never starts one.
func desktopNotify(ctx context.Context, title, text string) error {
	address := os.Getenv("DBUS_SESSION_BUS_ADDRESS")
	if address == "" {
		return errors.New("no session bus")
	}
	bus, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to the session bus: %w", err)
	}
	defer bus.Close()
	call := bus.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications").CallWithContext(ctx,
		"org.freedesktop.Notifications.Notify", dbus.FlagNoAutoStart, title, uint32(0), "dialog-password",
		title, text, []string{}, map[string]dbus.Variant{}, int32(-1))
	if call.Err != nil {
		return fmt.Errorf("notify: %w", call.Err)
	}
	return nil
}
