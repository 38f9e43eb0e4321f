// Package statusview draws how it stands with an agent: as a table on a terminal, as
// one line in a shell's prompt, and live. It is given what the agent says, and asks
// nobody itself.
package statusview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"vmux/internal/control"
	"vmux/internal/wire"
)

const (
	// columnGap is between two columns of a table.
	columnGap = 2
	// leastColumns is the narrowest terminal that lines are broken for.
	leastColumns = 20
	// lineLocked is the third line of an agent that is locked.
	lineLocked = "Locked: no key is listed, and none signs, until `ssh-add -X`"
)

// Table is the status for a terminal of so many columns: connection and certificate
// in the words that they have everywhere, then identities and phones.
func Table(s control.Status, columns int, now time.Time) string {
	return heading(s, columns) + identities(s, columns) + phones(s.Phones, columns, now)
}

func heading(s control.Status, columns int) string {
	lines := []string{wire.Show(s.ConnectionLine), wire.Show(s.CertificateLine)}
	if s.Locked {
		lines = append(lines, lineLocked)
	}
	for i, line := range lines {
		lines[i] = folded(line, "", columns)
	}
	return strings.Join(lines, "")
}

// identities says who holds them where that can be more than one.
func identities(s control.Status, columns int) string {
	rows := make([][]string, 0, len(s.Identities))
	for _, i := range s.Identities {
		holder := ""
		if len(s.Phones) > 1 {
			holder = "this computer"
			if !i.Certificate {
				holder = wire.Show(strings.Join(i.Phones, ", "))
			}
		}
		rows = append(rows, []string{wire.Show(i.Comment), i.Fingerprint, holder})
	}
	return table([]string{"IDENTITY", "FINGERPRINT", "HELD BY"}, rows, columns)
}

func phones(list []control.Device, columns int, now time.Time) string {
	rows := make([][]string, 0, len(list))
	for _, d := range list {
		since := ""
		if !d.Since.IsZero() {
			since = Span(now.Sub(d.Since))
		}
		rows = append(rows, []string{wire.Show(d.Name), linkText(d), since, roundTrip(d), clockText(d)})
	}
	return table([]string{"PHONE", "LINK", "FOR", "ROUND TRIP", "CLOCK"}, rows, columns)
}

func linkText(d control.Device) string {
	if !d.Connected {
		return "not connected"
	}
	kind, place, _ := strings.Cut(d.Route, ":")
	if kind == "tcp" {
		kind = "network"
	}
	return wire.Show(strings.TrimSpace(kind + " " + place))
}

// roundTrip is how long the phone's answer took when it was asked last.
func roundTrip(d control.Device) string {
	if !d.Connected || d.RoundTripMilliseconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f ms", max(1, d.RoundTripMilliseconds))
}

// clockText is how far the phone's clock is off, where somebody could notice.
func clockText(d control.Device) string {
	off := time.Duration(d.ClockDifferenceMilliseconds) * time.Millisecond
	if !d.Connected || off.Abs() < time.Second {
		return ""
	}
	return fmt.Sprintf("%+.0f s", off.Seconds())
}

// Span is a span of time as people say it, in its largest unit.
func Span(t time.Duration) string {
	switch t = max(t, 0); {
	case t < time.Minute:
		return fmt.Sprintf("%d s", int(t.Seconds()))
	case t < time.Hour:
		return fmt.Sprintf("%d min", int(t.Minutes()))
	case t < 48*time.Hour:
		return fmt.Sprintf("%d h", int(t.Hours()))
	}
	return fmt.Sprintf("%d days", int(t.Hours()/24))
}

// table lays rows out below their heads, behind an empty line. Columns of which
// nothing is known are left out. Where it does not fit each row becomes a paragraph:
// its first cell, and below it the others behind what they are.
func table(head []string, rows [][]string, columns int) string {
	if len(rows) == 0 {
		return ""
	}
	var shown, widths []int
	total := -columnGap
	for c := range head {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[c] != "" }) {
			continue
		}
		width := ansi.StringWidth(head[c])
		for _, row := range rows {
			width = max(width, ansi.StringWidth(row[c]))
		}
		shown, widths = append(shown, c), append(widths, width)
		total += width + columnGap
	}
	var b strings.Builder
	b.WriteByte('\n')
	if total > columns {
		for _, row := range rows {
			b.WriteString(folded(row[shown[0]], "", columns))
			for _, c := range shown[1:] {
				if row[c] != "" {
					b.WriteString(folded(strings.ToLower(head[c])+" "+row[c], "  ", columns))
				}
			}
		}
		return b.String()
	}
	for _, row := range append([][]string{head}, rows...) {
		line := ""
		for i, c := range shown {
			line += row[c] + strings.Repeat(" ", widths[i]-ansi.StringWidth(row[c])+columnGap)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// folded breaks a line where the terminal would, at blanks if it has any; what follows
// stands two columns further in.
func folded(line, indent string, columns int) string {
	columns = max(columns, leastColumns)
	first, rest, more := strings.Cut(ansi.Wrap(line, columns-len(indent)-2, ""), "\n")
	if !more { // the two columns that the other lines are moved by are free here
		return indent + line + "\n"
	}
	return indent + first + "\n" + indent + "  " + strings.ReplaceAll(rest, "\n", "\n"+indent+"  ") + "\n"
}
