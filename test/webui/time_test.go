package webui

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // what the browser has of its own

	"github.com/chromedp/cdproto/emulation"

	"vmux/test/browser"
)

// moments are when code that knows the time of day is likely to be wrong.
var moments = []struct{ name, zone, local string }{
	{"after midnight", "Europe/Berlin", "2026-06-10 00:01"},
	{"at night", "Europe/Berlin", "2026-06-10 02:20"},
	{"later at night", "Europe/Berlin", "2026-06-10 02:45"},
	{"at noon", "Europe/Berlin", "2026-06-10 12:00"},
	{"before midnight", "Europe/Berlin", "2026-06-10 23:59"},
	{"the year's last minute", "Europe/Berlin", "2026-12-31 23:59"},
	{"the year's first minute", "Europe/Berlin", "2027-01-01 00:01"},
	{"a leap day", "Europe/Berlin", "2028-02-29 00:01"},
	{"after a leap day", "Europe/Berlin", "2028-03-01 02:20"},
	{"after a February without one", "Europe/Berlin", "2027-03-01 00:01"},
	{"the night that loses an hour", "Europe/Berlin", "2027-03-28 03:30"},
	{"the day after it", "Europe/Berlin", "2027-03-29 00:01"},
	{"the night that gains an hour", "Europe/Berlin", "2027-10-31 02:20"},
	{"the end of that day", "Europe/Berlin", "2027-10-31 23:59"},
	{"the day after that", "Europe/Berlin", "2027-11-01 00:01"},
	{"a day without a midnight", "America/Havana", "2027-03-14 01:20"},
	{"the first of all zones", "Pacific/Kiritimati", "2026-12-31 00:01"},
	{"half an hour beside the others", "America/St_Johns", "2027-03-14 00:01"},
	{"half an hour beside the others, in autumn", "America/St_Johns", "2027-11-07 23:59"},
}

func timeIn(t *testing.T, zone, local string) time.Time {
	t.Helper()
	place, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	now, err := time.ParseInLocation("2006-01-02 15:04", local, place)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// dayOf is the day of a time as the app is to say it, by Go's calendar.
func dayOf(at, now time.Time) string {
	const date = "2006-01-02"
	noon := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, now.Location())
	switch at.Format(date) {
	case now.Format(date):
		return "Today"
	case noon.AddDate(0, 0, -1).Format(date):
		return "Yesterday"
	case noon.AddDate(0, 0, 1).Format(date):
		return "Tomorrow"
	}
	if at.Year() != now.Year() {
		return at.Format("2 January 2006")
	}
	return at.Format("2 January")
}

// Days are named rightly at every time of day and year, wherever the phone is.
func TestTimesOfDay(t *testing.T) {
	t.Parallel()
	p := open(t, startPictures(t), view{})
	for _, m := range moments {
		now := timeIn(t, m.zone, m.local)
		browser.Send(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: m.zone})
		p.Do(clock(now))
		if got := browser.Eval[string](p, "new Date().toString().slice(16, 21)"); got != m.local[11:] && got != now.Add(time.Minute).Format("15:04") {
			t.Fatalf("%s: the page's clock shows %s", m.name, got)
		}
		p.namesDays(now)
	}
}

// Times are milliseconds, and no other unit is guessed: a certificate that ended in 1972
// has ended, and a computer that was seen at no time was not seen in 1970.
func TestTimesAreMilliseconds(t *testing.T) {
	t.Parallel()
	p := open(t, startPictures(t), view{})
	p.Do("fake.set({ certificates: fake.full().certificates.map((c) => ({ ...c, validBefore: 9e10 })), computers: fake.full().computers.map((c) => ({ ...c, connected: false, connecting: false, since: 0 })) })")
	p.Screen("home")
	p.Wants("Not connected")
	p.Lacks("left", "seen")
}

// namesDays compares the names of three days' half hours and their edges with
// those of Go's calendar.
func (p *tab) namesDays(now time.Time) {
	p.t.Helper()
	var millis []int64
	var want []string
	for at := now.Add(-73 * time.Hour).Truncate(time.Hour); at.Before(now.Add(73 * time.Hour)); at = at.Add(30 * time.Minute) {
		for _, edge := range []time.Time{at, at.Add(-time.Millisecond)} {
			name := dayOf(edge, now)
			clock := edge.Format("15:04")
			switch name {
			case "Today":
			case "Yesterday", "Tomorrow":
				clock = strings.ToLower(name) + " " + clock
			default:
				clock = name + " " + clock
			}
			millis = append(millis, edge.UnixMilli())
			want = append(want, name+", "+clock)
		}
	}
	list, err := json.Marshal(millis)
	if err != nil {
		p.t.Fatal(err)
	}
	// The clock stands still, so that a minute that ends meanwhile does not matter.
	got := browser.Eval[[]string](p, fmt.Sprintf("Date.now = () => %[1]d, import('./text.js').then((text) => %[2]s.map((t) => text.day(t) + ', ' + text.when(t)))", now.UnixMilli(), list))
	for i := range want {
		if got[i] != want[i] {
			p.t.Errorf("at %v, %v is %q, want %q", now, time.UnixMilli(millis[i]).In(now.Location()), got[i], want[i])
		}
	}
}
