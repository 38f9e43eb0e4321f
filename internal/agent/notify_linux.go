package agent

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"slices"

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
	call := func(method string, args ...any) *dbus.Call {
		return bus.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications").
			CallWithContext(ctx, "org.freedesktop.Notifications."+method, dbus.FlagNoAutoStart, args...)
	}
	var capabilities []string
	if err := call("GetCapabilities").Store(&capabilities); err != nil {
		return fmt.Errorf("ask the desktop what it can show: %w", err)
	}
	// Other hosts choose some of the words. They must not draw links or pictures.
	if slices.Contains(capabilities, "body-markup") {
		text = html.EscapeString(text)
	}
	notify := call("Notify", title, uint32(0), "dialog-password", title, text,
		[]string{}, map[string]dbus.Variant{}, int32(-1))
	if notify.Err != nil {
		return fmt.Errorf("notify: %w", notify.Err)
	}
	return nil
}
