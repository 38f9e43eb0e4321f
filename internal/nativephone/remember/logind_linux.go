package remember

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	logind        = "org.freedesktop.login1"
	logindPath    = "/org/freedesktop/login1"
	prepares      = logind + ".Manager.PrepareForSleep"
	session       = logind + ".Session"
	properties    = "org.freedesktop.DBus.Properties"
	ownerChanged  = "org.freedesktop.DBus.NameOwnerChanged"
	busName       = "org.freedesktop.DBus"
	answerTimeout = 5 * time.Second
)

// WatchLogind calls forget before each sleep of the machine, and when the screen of a session
// of this user's is locked, as far as logind tells of it, until ctx ends. Where there is none a
// Memory still sees that the machine has slept, but what it keeps is in the memory of the
// machine that sleeps.
func WatchLogind(ctx context.Context, forget func(), log *slog.Logger) {
	// A phone that starts with the machine may be earlier than the bus, and one that was
	// started anew is another one. A container has none ever.
	const shortest, longest = 10 * time.Second, time.Hour
	for pause := shortest; ctx.Err() == nil; pause = min(2*pause, longest) {
		err := watchLogind(ctx, forget, log)
		for err == nil { // another logind has come
			pause, err = shortest, watchLogind(ctx, forget, log)
		}
		log.Debug(untold, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

const untold = "neither the machine's sleep nor a locked screen is told of"

// watchLogind returns nil where another logind has taken this one's place, which waits for
// nobody with a sleep (systemd issue 11825).
func watchLogind(ctx context.Context, forget func(), log *slog.Logger) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to the system bus: %w", err)
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, 8)
	bus.Signal(signals)
	fromLogind := dbus.WithMatchSender(logind)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, logind)},
		{fromLogind, dbus.WithMatchObjectPath(logindPath), dbus.WithMatchInterface(logind + ".Manager"), dbus.WithMatchMember("PrepareForSleep")},
		{fromLogind, dbus.WithMatchInterface(session), dbus.WithMatchMember("Lock")},
		{fromLogind, dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchArg(0, session)},
	} {
		if err := bus.AddMatchSignalContext(ctx, match...); err != nil {
			return fmt.Errorf("listen to logind: %w", err)
		}
	}
	// Anybody may send a signal to this connection, whatever it asks for.
	var owner string
	var delay *os.File
	if err = bus.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, logind).Store(&owner); err != nil {
		log.Debug(untold, "error", err) // until the bus says that there is one
	} else if delay, err = delaySleep(ctx, bus); err != nil {
		return err
	}
	defer func() { delay.Close() }()
	for {
		var s *dbus.Signal
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s = <-signals:
		}
		switch {
		case s == nil:
			return errors.New("the system bus is gone")
		case s.Sender == busName && s.Name == ownerChanged:
			return nil
		case s.Sender != owner:
		case s.Name == prepares:
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
					return err
				}
			}
		case locks(s) && isMine(ctx, bus, s.Path):
			forget()
		}
	}
}

// locks reports that a session's screen is to be locked (loginctl lock-session), or has been.
func locks(s *dbus.Signal) bool {
	if s.Name == session+".Lock" {
		return true
	}
	var of string
	var changed map[string]dbus.Variant
	var others []string
	if s.Name != properties+".PropertiesChanged" || dbus.Store(s.Body, &of, &changed, &others) != nil {
		return false
	}
	return of == session && changed["LockedHint"].Value() == true
}

// isMine reports whether a session is this user's, as far as is known.
func isMine(ctx context.Context, bus *dbus.Conn, path dbus.ObjectPath) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var of dbus.Variant
	var user struct {
		ID   uint32
		Path dbus.ObjectPath
	}
	err := bus.Object(logind, path).CallWithContext(ctx, properties+".Get", 0, session, "User").Store(&of)
	if err == nil {
		err = of.Store(&user)
	}
	return err != nil || int(user.ID) == os.Getuid()
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
