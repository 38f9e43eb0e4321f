//go:build linux || darwin

package nativephone

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A phone that runs for weeks goes by the time zone that the machine is in now, as timedatectl
// and a desktop set it (golang/go issue 44408): where that cannot be read, by the last one.
func TestClockFollowsTheMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "localtime")
	c := &clock{path: path}
	now := func(want string) {
		t.Helper()
		place, err := time.LoadLocation(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.now(); time.Since(got).Abs() > patience || got.Format("15 -0700") != got.In(place).Format("15 -0700") {
			t.Errorf("it is %s, and not by the clock of %s", got, want)
		}
	}
	travel := func(to string) {
		t.Helper()
		if err := os.Symlink(filepath.Join("/usr/share/zoneinfo", to), path+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	now("Local")
	travel("Asia/Tokyo")
	now("Asia/Tokyo")
	travel("America/New_York")
	now("America/New_York")
	travel("Nowhere")
	now("America/New_York")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no zone"), 0o600); err != nil {
		t.Fatal(err)
	}
	now("America/New_York")

	t.Setenv("TZ", ":/etc/localtime")
	if newClock().path != localtime {
		t.Error("TZ that names the machine's own zone keeps it for good")
	}
	t.Setenv("TZ", "Asia/Tokyo")
	if c := newClock(); c.path != "" || c.now().Location() != time.Local {
		t.Error("the zone of TZ does not count")
	}
}
