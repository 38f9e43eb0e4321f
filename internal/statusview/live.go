package statusview

import (
	"fmt"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Live is the status for a terminal that shows nothing else: what waits comes first,
// the history last, of which what does not fit is left out. err is why there is no
// newer status; the old one is not shown then.
func Live(s control.Status, err error, columns, lines int, now time.Time) string {
	var b strings.Builder
	if err != nil {
		b.WriteString(folded(wire.Show(err.Error()), "", columns))
	} else {
		b.WriteString(heading(s, columns))
		b.WriteString(waiting(s.Waiting, columns, now))
		b.WriteString(phones(s.Phones, columns, now))
		b.WriteString(identities(s, columns))
		b.WriteString(attention(s, columns, now))
		b.WriteString(history(s.History, columns, now))
	}
	text := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	end := "q: quit"
	if most := max(lines-2, 1); len(text) > most {
		end = fmt.Sprintf("%d more lines; %s", len(text)-most, end)
		text = text[:most]
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n") + "\n\n" + end
}

func waiting(list []control.Request, columns int, now time.Time) string {
	var items []string
	for _, r := range list {
		items = append(items, waitingFor(r, now))
	}
	return section("WAITING FOR THE PHONE", items, columns)
}

// attention is what else Notices tells.
func attention(s control.Status, columns int, now time.Time) string {
	s.Waiting = nil
	var items []string
	for _, n := range Notices(s, now) {
		if n.Text != "" {
			items = append(items, n.Text)
		}
		if n.Hint != "" {
			items = append(items, "hint: "+n.Hint)
		}
	}
	return section("NOTES", items, columns)
}

func history(list []control.Event, columns int, now time.Time) string {
	var items []string
	for _, e := range list {
		at := e.At.Local().Format(time.TimeOnly)
		if y, m, d := e.At.Local().Date(); time.Date(y, m, d, 0, 0, 0, 0, time.Local).AddDate(0, 0, 1).Before(now) {
			at = e.At.Local().Format(control.TimeLayout)
		}
		items = append(items, at+" "+wire.Show(e.Text))
	}
	return section("HISTORY", items, columns)
}

// section is a list below its head, behind an empty line.
func section(head string, items []string, columns int) string {
	if len(items) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n" + head + "\n")
	for _, item := range items {
		b.WriteString(folded(item, "", columns))
	}
	return b.String()
}
