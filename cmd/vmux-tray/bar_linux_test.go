package main

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

// The end of the desktop while the tray draws ends the tray, and is no crash; whatever else
// goes wrong is one.
func TestTheDesktopEndsWhileTheTrayDraws(t *testing.T) {
	quits := 0
	quit := func() { quits++ }
	guarded(quit, func() {})
	guarded(quit, func() { panic(dbus.ErrClosed) })
	if quits != 1 {
		t.Errorf("it was ended %d times", quits)
	}
	defer func() {
		if p := recover(); p != "another" || quits != 1 {
			t.Errorf("another panic: %v; ended %d times", p, quits)
		}
	}()
	guarded(quit, func() { panic("another") })
}
