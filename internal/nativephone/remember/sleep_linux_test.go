package remember

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
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
// it wakes up. logind waits until everything is forgotten.
func TestForgottenBeforeSleep(t *testing.T) {
	m := startLogind(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := BeforeSleep(ctx, func() {}); err == nil {
		t.Error("no error without logind")
	}
	m.begin(t)
	begun, goOn, done := make(chan bool), make(chan bool), make(chan error, 1)
	go func() { done <- BeforeSleep(ctx, func() { begun <- true; <-goOn }) }()
	for range 2 {
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
	last := <-m.delayed
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = last.read.Close() // the other end may have to be sent yet
}
