package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Hours are by the wall clock of where the phone is, on every day of the year: also
// on the nights on which the clock changes, where an hour is missing or comes twice,
// and a day has 23 or 25 of them. They are compared with what a person reads from
// the clock, at each minute around what is rare, and a certificate ends at the first
// minute that is outside of them.
func TestHoursByTheClock(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns", "Australia/Lord_Howe"} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range [][3]int{
			{2026, 3, 28}, {2026, 10, 24}, // the clock of Berlin changes in the night after
			{2026, 3, 7}, {2026, 10, 31}, // of St John's
			{2026, 4, 4}, {2026, 10, 3}, // of Lord Howe, by half an hour
			{2026, 12, 31}, {2028, 2, 28}, {2028, 2, 29}, {2026, 11, 29},
		} {
			midnight := time.Date(day[0], time.Month(day[1]), day[2], 0, 0, 0, 0, place)
			for _, text := range []string{
				"", "08:00-18:00", "mon-fri 08:00-18:00", "22:00-06:00", "fri 22:00-02:30", "sat-sun 02:00-03:00",
				"sat-mon 00:00-00:01", "23:59-00:00", "sun 00:00-23:59", "02:30-02:29",
				"18:00-24:00", "Mon-Fri 00:00-24:00",
			} {
				checkHours(t, text, midnight)
			}
		}
	}
}

// checkHours compares with the clock for 30 hours from midnight on.
func checkHours(t *testing.T, text string, midnight time.Time) {
	t.Helper()
	h, err := parseHours(text)
	if err != nil {
		t.Fatal(err)
	}
	const minutes = 30 * 60
	inside := make([]bool, minutes+8*60)
	for m := range inside {
		at := midnight.Add(time.Duration(m) * time.Minute)
		inside[m] = readsInside(text, at)
		if got := h.contains(at.Add(59*time.Second + 999*time.Millisecond)); got != inside[m] {
			t.Fatalf("%q at %s: %v, want %v", text, at, got, inside[m])
		}
	}
	for m := 0; m < minutes; m += 53 {
		if !inside[m] {
			continue
		}
		now := midnight.Add(time.Duration(m)*time.Minute + 20*time.Second)
		end, err := Rules{Hours: text}.HoursEnd(now, 8*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want := time.Time{}
		if n := slices.Index(inside[m:m+8*60+1], false); n >= 0 && now.Add(8*time.Hour).After(midnight.Add(time.Duration(m+n)*time.Minute)) {
			want = midnight.Add(time.Duration(m+n) * time.Minute)
		}
		if !end.Equal(want) {
			t.Fatalf("%q at %s: they end %s, want %s", text, now, end, want)
		}
	}
}

// readsInside is what a person reads from the clock and the calendar on the wall.
func readsInside(text string, at time.Time) bool {
	if text == "" {
		return true
	}
	days := "sun-sat"
	if a, b, found := strings.Cut(text, " "); found {
		days, text = strings.ToLower(a), b
	}
	from, to, _ := strings.Cut(text, "-")
	clock := at.Format("15:04")
	if from < to {
		return from <= clock && clock < to && dayIn(days, at)
	}
	y, m, d := at.Date()
	before := time.Date(y, m, d-1, 12, 0, 0, 0, time.UTC)
	return clock >= from && dayIn(days, at) || clock < to && dayIn(days, before)
}

func dayIn(days string, at time.Time) bool {
	week := strings.Split("sun mon tue wed thu fri sat sun mon tue wed thu fri sat", " ")
	first, last, found := strings.Cut(days, "-")
	if !found {
		last = first
	}
	a := slices.Index(week, first)
	b := a + slices.Index(week[a:], last)
	return slices.Contains(week[a:b+1], strings.ToLower(at.Format("Mon")))
}

// The same requests are let through and refused wherever the phone is: only its own
// clock on the wall counts, not that of the computer or of UTC.
func TestHoursWhereThePhoneIs(t *testing.T) {
	for zone, want := range map[string]string{
		// 2026-12-31 12:30 UTC
		"Europe/Berlin": "13:30 Thu", "Pacific/Kiritimati": "02:30 Fri", "America/St_Johns": "09:00 Thu",
	} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 12, 31, 12, 30, 0, 0, time.UTC).In(place)
		if got := now.Format("15:04 Mon"); got != want {
			t.Fatalf("%s: %s, want %s", zone, got, want)
		}
		clock, day, _ := strings.Cut(want, " ")
		hour := clock[:2]
		for text, allowed := range map[string]bool{
			fmt.Sprintf("%s %s:00-%s:59", strings.ToLower(day), hour, hour): true,
			fmt.Sprintf("%s:31-%s:29", hour, hour):                          hour == "09",
			"12:30-12:31":                                                   false,
		} {
			if err := (Rules{Hours: text}).allowNow("work", now); (err == nil) != allowed {
				t.Errorf("%s, %q: %v", zone, text, err)
			}
		}
	}
}
