//go:build linux

package test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
)

// A desktop tells that a request waits for the phone, and how it is answered, until it is.
func TestPhoneNotification(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.phone.env = desktop(t, w.phone)
	service := w.startPhoneAsService("--passphrase-file", w.passphraseFile)
	w.startAgent("--name", "<b>laptop</b>")
	w.pair()
	o := sshdtest.Old(t)
	prod := w.server(o)
	displayed := func() string {
		out, err := w.phone.commandOf(context.Background(), "dunstctl", "count", "displayed").Output()
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(out))
	}
	done := w.logsIn(o, prod)
	waitFor(t, "a notification", func() bool { return displayed() == "1" })
	person := w.attach()
	person.waitCount("Approved.", 1, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	waitFor(t, "it to go", func() bool { return displayed() == "0" })
	if list := w.phone.shown(); len(list) != 1 || !strings.HasPrefix(list[0], "&lt;b&gt;laptop&lt;/b&gt; asks: ") || !strings.HasSuffix(list[0], "vmux phone attach") {
		t.Errorf("shown: %q", list)
	}
	service.stop()
	w.phone.file("config.toml", "[phone]\nnotifications = [\"none\"]\n")
	w.startPhoneAsService("--passphrase-file", w.passphraseFile)
	w.waitConnected()
	person = w.attach()
	done = w.logsIn(o, prod)
	person.waitCount("asks: ", 1, "")
	person.afterAWhile("") // in which it would be shown
	if n := displayed(); n != "0" {
		t.Errorf("%s notifications, though they are switched off", n)
	}
	person.waitCount("Approved.", 1, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
}

// manager is logind, as far as a sleep is concerned.
type manager struct{ delayed chan [2]*os.File }

// Inhibit is org.freedesktop.login1.Manager.Inhibit.
func (m manager) Inhibit(_, _, _, _ string) (dbus.UnixFD, *dbus.Error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fd := dbus.UnixFD(write.Fd())
	m.delayed <- [2]*os.File{read, write}
	return fd, nil
}

// Before the machine sleeps the phone forgets the passphrases that it remembers.
func TestSleepLocksThePhone(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	address := testkit.Bus(t, w.phone.dir+"/bus")
	logind, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logind.Close() })
	const name, path = "org.freedesktop.login1", "/org/freedesktop/login1"
	m := manager{make(chan [2]*os.File, 2)}
	if err := logind.Export(m, path, name+".Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := logind.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	w.phone.env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + address}
	w.startPhoneAsService("--remember", "1h")
	delay := <-m.delayed
	t.Cleanup(func() { _, _ = delay[0].Close(), delay[1].Close() })
	w.startAgent()
	w.pair()
	o := sshdtest.Old(t)
	prod, person := w.server(o), w.attach()
	done := w.logsIn(o, prod)
	person.waitCount("Passphrase of ssh-ed25519: ", 1, "y")
	person.types("\x15" + passphrase + "\n")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	person.waitCount("Unlocked for 60 min. l locks", 1, "")
	if err := logind.Emit(path, name+".Manager.PrepareForSleep", true); err != nil {
		t.Fatal(err)
	}
	person.waitCount("Locked: each passphrase is asked for again.", 1, "")
	done = w.logsIn(o, prod)
	person.waitCount("Passphrase of ssh-ed25519: ", 2, "y")
	person.types("\x15" + passphrase + "\n")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
}
