package remember

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"vmux/internal/testkit"
)

// manager is logind, as far as a sleep is concerned.
type manager struct {
	bus     *dbus.Conn
	delayed chan delay
}

// delay is a pipe whose writing end was given out: the other one ends when all have closed it.
type delay struct{ read, write *os.File }

// Inhibit is org.freedesktop.login1.Manager.Inhibit.
func (m *manager) Inhibit(what, _, _, mode string) (dbus.UnixFD, *dbus.Error) {
	read, write, err := os.Pipe()
	if err != nil || what != "sleep" || mode != "delay" {
		return 0, dbus.MakeFailedError(err)
	}
	fd := dbus.UnixFD(write.Fd())
	m.delayed <- delay{read, write}
	return fd, nil
}

// user is what org.freedesktop.login1.Session.User is.
type user struct {
	ID   uint32
	Path dbus.ObjectPath
}

// sessionOf has a session of a user's, of which its properties can be asked.
func (m *manager) sessionOf(t *testing.T, path dbus.ObjectPath, id int) {
	t.Helper()
	get := func(_, _ string) (dbus.Variant, *dbus.Error) {
		return dbus.MakeVariant(user{uint32(id), "/"}), nil
	}
	if err := m.bus.ExportMethodTable(map[string]any{"Get": get}, path, properties); err != nil {
		t.Fatal(err)
	}
}

// startLogind starts a system bus of the test's own and a logind on it.
func startLogind(t *testing.T) *manager {
	t.Helper()
	address := testkit.Bus(t, filepath.Join(t.TempDir(), "bus"))
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	m := &manager{delayed: make(chan delay, 8)}
	var err error
	if m.bus, err = dbus.Connect(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.bus.Close() })
	if err := m.bus.Export(m, logindPath, logind+".Manager"); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *manager) begin(t *testing.T) {
	t.Helper()
	if reply, err := m.bus.RequestName(logind, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%v, %v", reply, err)
	}
}

func (m *manager) prepares(t *testing.T, sleep bool) {
	t.Helper()
	if err := m.bus.Emit(logindPath, logind+".Manager.PrepareForSleep", sleep); err != nil {
		t.Fatal(err)
	}
}

// KeePassXC issue 2753: what is to be locked before the machine sleeps, and is locked when
// it wakes up. logind waits until everything is forgotten; so does one that was started later
// than this program, or anew.
func TestForgottenBeforeSleep(t *testing.T) {
	m := startLogind(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun, goOn, done := make(chan bool), make(chan bool), make(chan bool)
	tried := make(chan bool, 1)
	log := slog.New(slog.NewTextHandler(writer(func() {
		select {
		case tried <- true:
		default:
		}
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { defer close(done); WatchLogind(ctx, func() { begun <- true; <-goOn }, log) }()
	<-tried // in vain
	m.begin(t)
	var last delay
	for _, again := range []bool{false, false, true, false} {
		if again {
			last = <-m.delayed // which another logind knows nothing of
			if _, err := m.bus.ReleaseName(logind); err != nil {
				t.Fatal(err)
			}
			m.begin(t)
			_ = errors.Join(last.write.Close(), last.read.Close())
		}
		d := <-m.delayed
		m.prepares(t, true)
		<-begun
		err := errors.Join(d.write.Close(), d.read.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.read.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the machine may sleep before all is forgotten: %v", err)
		}
		goOn <- true
		if err := d.read.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.read.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the machine may not sleep though all is forgotten: %v", err)
		}
		m.prepares(t, false)
		_ = d.read.Close()
	}
	last = <-m.delayed
	cancel()
	<-done
	_ = last.read.Close() // the other end may have to be sent yet
}

// writer is told of each record of a log.
type writer func()

func (w writer) Write(b []byte) (int, error) { w(); return len(b), nil }

// A screen that this user locks forgets, by whatever means the desktop locks it; another
// user's does not, and nothing that another program on the bus says is believed.
func TestForgottenWhenTheScreenIsLocked(t *testing.T) {
	m := startLogind(t)
	m.begin(t)
	const mine, theirs = "/org/freedesktop/login1/session/c1", "/org/freedesktop/login1/session/c2"
	m.sessionOf(t, mine, os.Getuid())
	m.sessionOf(t, theirs, os.Getuid()+1)
	ctx, cancel := context.WithCancel(t.Context())
	forgotten, done := make(chan bool, 8), make(chan bool)
	go func() {
		defer close(done)
		WatchLogind(ctx, func() { forgotten <- true }, slog.New(slog.DiscardHandler))
	}()
	d := <-m.delayed
	emit := func(from *dbus.Conn, path dbus.ObjectPath, name string, values ...any) {
		t.Helper()
		if err := from.Emit(path, name, values...); err != nil {
			t.Fatal(err)
		}
	}
	hint := func(name string, value any) []any {
		return []any{session, map[string]dbus.Variant{name: dbus.MakeVariant(value)}, []string{}}
	}
	other, err := dbus.Connect(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var names []string
	if err := other.BusObject().Call(busName+".ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // to that program alone, which needs no match of its
		for _, signal := range []string{prepares, session + ".Lock"} {
			dot := strings.LastIndex(signal, ".")
			forged := &dbus.Message{Type: dbus.TypeSignal, Body: []any{true}, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(mine)), dbus.FieldInterface: dbus.MakeVariant(signal[:dot]), dbus.FieldMember: dbus.MakeVariant(signal[dot+1:]),
				dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(true)),
			}}
			if call := other.Send(forged, nil); call != nil && call.Err != nil {
				t.Fatal(call.Err)
			}
		}
	}
	// The bus has passed these on when it answers.
	if err := other.BusObject().Call(busName+".GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	emit(m.bus, theirs, session+".Lock")
	emit(m.bus, theirs, properties+".PropertiesChanged", hint("LockedHint", true)...)
	emit(m.bus, mine, properties+".PropertiesChanged", hint("LockedHint", false)...)
	emit(m.bus, mine, properties+".PropertiesChanged", hint("Active", true)...)
	emit(m.bus, mine, session+".Lock")
	<-forgotten
	if n := len(forgotten); n > 0 {
		t.Errorf("%d times forgotten too many", n)
	}
	emit(m.bus, mine, properties+".PropertiesChanged", hint("LockedHint", true)...)
	<-forgotten
	cancel()
	<-done
	_ = errors.Join(d.write.Close(), d.read.Close())
	if n := len(forgotten); n > 0 {
		t.Errorf("%d times forgotten too many", n)
	}
}
