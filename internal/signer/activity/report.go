package activity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// maxAsked bounds what a Report tells one by one. The records have all.
const maxAsked = 8

// Report is what a computer has asked for since a moment: for a person who has to
// decide whether it is in wrong hands.
type Report struct {
	// Decisions counts the requests by what became of them: denied, refused, …
	Decisions map[string]int `json:"decisions"`
	// Asked are the most frequent ones, the first first; at most maxAsked.
	Asked   []Asked  `json:"asked"`
	Records []Record `json:"-"` // all of them, oldest first
}

// Asked is what was asked for, and how often.
type Asked struct {
	What    wire.Text `json:"what"`             // the sheet's title
	Server  wire.Text `json:"server,omitzero"`  // what the phone found out of it
	Program wire.Text `json:"program,omitzero"` // the computer's word
	Times   int       `json:"times"`
}

// Report reads from the log what a computer has asked for since a moment.
func (l *Log) Report(id device.ID, since time.Time) (Report, error) {
	all, err := l.Records()
	r := Report{Decisions: map[string]int{}, Asked: []Asked{}}
	for _, rec := range all {
		if rec.DeviceID == id.String() && !rec.Last().Before(since) {
			r.add(rec)
		}
	}
	slices.SortStableFunc(r.Asked, func(a, b Asked) int { return cmp.Compare(b.Times, a.Times) })
	r.Asked = r.Asked[:min(len(r.Asked), maxAsked)]
	return r, err
}

func (r *Report) add(rec Record) {
	r.Records = append(r.Records, rec)
	r.Decisions[rec.Decision] += rec.Times()
	list := rec.Asked
	if len(list) == 0 {
		list = []Asked{asked(rec)}
	}
	for _, a := range list {
		r.Asked, _ = countAsked(r.Asked, a, len(r.Asked)+1)
	}
}

func asked(rec Record) Asked {
	a := Asked{What: rec.What, Times: 1}
	if rec.Kind == "certificate" {
		a.What = wire.Clean("session certificate for " + strings.Join(rec.Principals, ",")) // also short: it is kept
	}
	for _, l := range rec.Lines {
		switch l.Name {
		case "server":
			a.Server = l.Value
		case "program":
			a.Program = l.Value
		}
	}
	return a
}

// String says it in a line.
func (a Asked) String() string {
	text, server, program := a.What.String(), a.Server.String(), a.Program.String()
	if server != "" && !strings.Contains(text, server) {
		text += "  " + server
	}
	if program != "" {
		text += "  by " + program
	}
	if a.Times > 1 {
		text += fmt.Sprintf("  (%d times)", a.Times)
	}
	return text
}
