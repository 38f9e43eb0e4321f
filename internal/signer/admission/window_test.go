package admission

import (
	"math"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// A window's end with a monotonic reading is reached late after a suspend, during
// which that clock stops: an approval would count that comes after the end.
func TestWindowHasNoMonotonicReading(t *testing.T) {
	now := time.Now()
	asking := wire.NewAsking("id", "computer", now, wire.Window)
	until, err := window(&asking, now)
	if err != nil || until != until.Round(0) {
		t.Errorf("until %v, %v", until, err)
	}
}

func TestWindow(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	ms := now.UnixMilli()
	for _, c := range []struct {
		name            string
		issued, expires int64
		left            time.Duration
		want            wire.Code
	}{
		{"fresh", ms, ms + 60_000, 60 * time.Second, ""},
		{"half over", ms - 30_000, ms + 30_000, 30 * time.Second, ""},
		{"last moment", ms - 59_999, ms + 1, time.Millisecond, ""},
		{"over", ms - 60_000, ms, 0, wire.CodeRequestExpired},
		{"this clock is behind", ms + 40_000, ms + 100_000, 60 * time.Second, ""},
		{"this clock is far behind", ms + 60_000, ms + 120_000, 0, wire.CodeRequestExpired},
		{"an hour long", ms, ms + 3_600_000, wire.MaxWindow, ""},
		{"an hour long and half over", ms - 1_800_000, ms + 1_800_000, 0, wire.CodeRequestExpired},
		{"ends before it begins", ms, ms - 1, 0, wire.CodeMalformedRequest},
		{"since ever, for ever", math.MinInt64, math.MaxInt64, 0, wire.CodeMalformedRequest},
		{"since ever", math.MinInt64, math.MinInt64 + 1, 0, wire.CodeRequestExpired},
		{"for ever", ms, math.MaxInt64, wire.MaxWindow, ""},
		{"at the end of time", math.MaxInt64 - 1, math.MaxInt64, 0, wire.CodeRequestExpired},
	} {
		until, err := window(&wire.Asking{IssuedAtMilliseconds: c.issued, ExpiresAtMilliseconds: c.expires}, now)
		if wire.CodeOf(err) != c.want || err == nil && until.Sub(now) != c.left {
			t.Errorf("%s: %s, %v, want %s, %q", c.name, until.Sub(now), err, c.left, c.want)
		}
	}
	_, err := window(&wire.Asking{IssuedAtMilliseconds: ms - 90_000, ExpiresAtMilliseconds: ms - 30_000}, now)
	if err == nil || err.Error() != "Clocks differ by 90 s." {
		t.Errorf("the person reads %v", err)
	}
}

func TestReplayGuardForgets(t *testing.T) {
	var g replayGuard
	now := time.UnixMilli(1_800_000_000_000)
	asking := func(now time.Time) *wire.Asking {
		a := wire.NewAsking("x", "x", now, wire.Window)
		return &a
	}
	first := asking(now)
	if err := g.check(device.ID{1}, first, now); err != nil {
		t.Fatal(err)
	}
	if err := g.check(device.ID{2}, first, now); err != nil {
		t.Errorf("another computer's request of the same ID: %v", err)
	}
	if err := g.check(device.ID{1}, first, now.Add(rememberFor)); wire.CodeOf(err) != wire.CodeReplayDetected {
		t.Errorf("forgotten too early: %v", err)
	}
	later := now.Add(rememberFor + time.Second)
	if err := g.check(device.ID{1}, asking(later), later); err != nil {
		t.Fatal(err)
	}
	if len(g.seen) != 2 || len(g.order) != 1 || len(g.perPeer) != 1 {
		t.Errorf("still remembers %d keys of %d requests by %d computers", len(g.seen), len(g.order), len(g.perPeer))
	}
}

// One computer cannot fill the guard's memory, nor shut others out.
func TestReplayGuardIsBounded(t *testing.T) {
	var g replayGuard
	now := time.UnixMilli(1_800_000_000_000)
	a := wire.NewAsking("x", "x", now, wire.Window)
	for n := range maxRememberedPerPeer {
		a.RequestID, a.Nonce = string(rune(n)), []byte{byte(n), byte(n >> 8), byte(n >> 16)}
		if err := g.check(device.ID{1}, &a, now); err != nil && n < 0xd800 {
			t.Fatalf("request %d: %v", n, err)
		}
	}
	a.RequestID, a.Nonce = "one more", []byte("one more")
	if err := g.check(device.ID{1}, &a, now); wire.CodeOf(err) != wire.CodeSignerBusy {
		t.Errorf("one request more: %v", err)
	}
	if err := g.check(device.ID{2}, &a, now); err != nil {
		t.Errorf("another computer: %v", err)
	}
}
