package phonecmd

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/cli/command"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/certificates"
)

// Times are those of the clock where the command runs, whatever zone the record was
// written in, on the nights too on which the clock changes, and --since reaches back
// by what has passed and not by what the clock shows.
func TestTimesOfTheClock(t *testing.T) {
	here := time.Local
	t.Cleanup(func() { time.Local = here })
	utc := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct{ zone, at, want string }{
		{"UTC", "2026-11-29T00:01:00Z", "2026-11-29 00:01:00"},
		{"Europe/Berlin", "2026-12-31T22:59:59Z", "2026-12-31 23:59:59"},
		{"Europe/Berlin", "2026-12-31T23:00:00Z", "2027-01-01 00:00:00"},
		{"Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29 01:59:59"}, // the hour after is missing
		{"Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29 03:00:00"},
		{"Europe/Berlin", "2026-10-25T00:20:00Z", "2026-10-25 02:20:00"}, // this one comes twice
		{"Europe/Berlin", "2026-10-25T01:20:00Z", "2026-10-25 02:20:00"},
		{"Pacific/Kiritimati", "2026-11-29T12:00:00Z", "2026-11-30 02:00:00"},
		{"Pacific/Kiritimati", "2028-02-28T10:00:00Z", "2028-02-29 00:00:00"},
		{"America/St_Johns", "2028-03-01T03:29:59Z", "2028-02-29 23:59:59"},
		{"America/St_Johns", "2026-11-29T02:20:00Z", "2026-11-28 22:50:00"},
	} {
		place, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		time.Local = place
		at := utc(c.at)
		for name, got := range map[string]string{
			"localTime":              command.LocalTime(at.In(time.FixedZone("elsewhere", -11*3600))),
			"local":                  command.LocalTime(at),
			"recordLine":             recordLine(activity.Record{Time: at}),
			"certificateLine, valid": strings.TrimPrefix(certificateState(certificates.Issued{ValidUntil: at}, at.Add(-time.Second)), "valid until "),
			"certificateLine, over":  strings.TrimPrefix(certificateState(certificates.Issued{ValidUntil: at}, at), "expired "),
		} {
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s in %s, %s: %q, want %s", c.at, c.zone, name, got, c.want)
			}
		}
		// 90 minutes ago, over whatever the clock has done meanwhile.
		ago := at.Add(-90 * time.Minute)
		day := time.Date(ago.In(place).Year(), ago.In(place).Month(), ago.In(place).Day(), 0, 0, 0, 0, place)
		for since, first := range map[string]time.Duration{
			"90m": -90 * time.Minute, ago.In(place).Format(time.RFC3339): -90 * time.Minute,
			command.LocalTime(ago): -90 * time.Minute, day.Format("2006-01-02"): day.Sub(at),
		} {
			meant, err := logFilter{since: since}.matcher(at)
			if err != nil {
				t.Fatal(err)
			}
			if !meant(activity.Record{Time: at.Add(first)}) || meant(activity.Record{Time: at.Add(first - time.Second)}) {
				t.Errorf("%s in %s: --since %s does not begin there", c.at, c.zone, since)
			}
		}
	}
}

// certificateState is the last column of a certificate's line.
func certificateState(c certificates.Issued, now time.Time) string {
	fields := strings.Split(certificateLine(c, now), "  ")
	return strings.TrimSpace(fields[len(fields)-1])
}
