package policy

import (
	"slices"
	"strings"
	"time"
)

// HoursEnd is when the hours that now lies in end, zero if not within that time:
// a certificate that outlasts them would be good for logins outside of them.
func (r Rules) HoursEnd(now time.Time, within time.Duration) (time.Time, error) {
	h, err := parseHours(r.Hours)
	if err != nil || !h.set {
		return time.Time{}, err
	}
	// Minute by minute, since a day of the wall clock need not have 24 hours.
	minute := now.Round(0).Add(-time.Duration(now.Second())*time.Second - time.Duration(now.Nanosecond()))
	for at := minute.Add(time.Minute); at.Sub(now) < within; at = at.Add(time.Minute) {
		if !h.contains(at) {
			return at, nil
		}
	}
	return time.Time{}, nil
}

// hours are minutes of some days of the week; the zero value is always.
type hours struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes since midnight; to may be the smaller one: overnight
	set      bool
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseHours reads "[DAY[-DAY] ]HH:MM-HH:MM"; a day ends at 24:00.
func parseHours(text string) (hours, error) {
	if text == "" {
		return hours{}, nil
	}
	bad := Invalid("not hours such as 08:00-18:00 or mon-fri 08:00-18:00: %q", text)
	days, span, found := strings.Cut(strings.ToLower(text), " ")
	if !found {
		days, span = "sun-sat", days
	}
	h := hours{set: true}
	first, last, found := strings.Cut(days, "-")
	if !found {
		last = first
	}
	a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if a < 0 || b < 0 {
		return hours{}, bad
	}
	for d := a; ; d = (d + 1) % 7 {
		h.days[d] = true
		if d == b {
			break
		}
	}
	from, to, found := strings.Cut(span, "-")
	var ok, ok2 bool
	h.from, ok = minuteOf(from)
	if h.to, ok2 = minuteOf(to); to == "24:00" {
		h.to, ok2 = 24*60, true
	}
	if !found || !ok || !ok2 || h.from == h.to {
		return hours{}, bad
	}
	return h, nil
}

func minuteOf(clock string) (int, bool) {
	t, err := time.Parse("15:04", clock)
	return t.Hour()*60 + t.Minute(), err == nil
}

// contains reports whether t lies in the hours. What begins on an allowed day
// goes on past midnight.
func (h hours) contains(t time.Time) bool {
	if !h.set {
		return true
	}
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	if h.from < h.to {
		return h.days[day] && h.from <= minute && minute < h.to
	}
	return h.days[day] && minute >= h.from || h.days[(day+6)%7] && minute < h.to
}
