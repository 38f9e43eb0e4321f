//go:build js && wasm

package main

import (
	"syscall/js"
	"testing"
	"time"
)

// The zone is that of the moment, not that of the page's start.
func TestNowFollowsTheZone(t *testing.T) {
	env := js.Global().Get("process").Get("env")
	for zone, offset := range map[string]time.Duration{
		"Etc/UTC": 0, "Asia/Tokyo": 9 * time.Hour, "Asia/Kolkata": 5*time.Hour + 30*time.Minute, "America/Bogota": -5 * time.Hour,
	} {
		env.Set("TZ", zone)
		got, want := now(), time.Now().UTC().Add(offset)
		if got.Weekday() != want.Weekday() || (want.Hour()*60+want.Minute()-got.Hour()*60-got.Minute()+24*60)%(24*60) > 1 {
			t.Errorf("in %s it is %v, %02d:%02d; want %v, %02d:%02d", zone, got.Weekday(), got.Hour(), got.Minute(), want.Weekday(), want.Hour(), want.Minute())
		}
	}
}
