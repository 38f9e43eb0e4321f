package remember

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

const (
	logind     = "org.freedesktop.login1"
	logindPath = "/org/freedesktop/login1"
)

// BeforeSleep calls forget before each sleep of the machine that logind tells of, until ctx
// ends. It fails where there is no logind; a Memory then still sees that the machine has
// slept, but what it keeps is in the memory of the machine that sleeps.
func BeforeSleep(ctx context.Context, forget func()) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to the system bus: %w", err)
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, 8)
	bus.Signal(signals)
	if err := bus.AddMatchSignalContext(ctx, dbus.WithMatchSender(logind), dbus.WithMatchObjectPath(logindPath),
		dbus.WithMatchInterface(logind+".Manager"), dbus.WithMatchMember("PrepareForSleep")); err != nil {
		return fmt.Errorf("listen to logind: %w", err)
	}
	delay, err := delaySleep(ctx, bus)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer func() { delay.Close() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-signals:
			if !ok {
				return errors.New("the system bus is gone")
			}
			var begins bool
			if dbus.Store(s.Body, &begins) != nil {
				continue
			}
			if begins {
				forget()
			}
			delay.Close()
			if !begins {
				if delay, err = delaySleep(ctx, bus); err != nil {
					return unlessEnded(ctx, err)
				}
			}
		}
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// delaySleep has logind wait with a sleep until the file is closed, a few seconds at most:
// without that the machine may sleep before this program runs again.
func delaySleep(ctx context.Context, bus *dbus.Conn) (*os.File, error) {
	var fd dbus.UnixFD
	if err := bus.Object(logind, logindPath).CallWithContext(ctx, logind+".Manager.Inhibit", dbus.FlagNoAutoStart,
		"sleep", "vmux", "forgets passphrases", "delay").Store(&fd); err != nil {
		return nil, fmt.Errorf("have logind wait: %w", err)
	}
	return os.NewFile(uintptr(fd), "delay of sleep"), nil
}
