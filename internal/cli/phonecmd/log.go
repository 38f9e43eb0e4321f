package phonecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/nativephone"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// logFilter says which records are shown; zero: all.
type logFilter struct {
	computer string // name, device ID, or the ID's beginning
	since    string
}

// matcher returns what tells the records that are meant.
func (f logFilter) matcher(now time.Time) (func(activity.Record) bool, error) {
	var since time.Time
	if f.since != "" {
		ago, err := time.ParseDuration(f.since)
		since = now.Add(-ago)
		for _, layout := range []string{time.RFC3339, control.TimeLayout, time.DateOnly} { // also as the log shows it
			if err != nil {
				since, err = time.ParseInLocation(layout, f.since, time.Local)
			}
		}
		if err != nil {
			return nil, command.Usagef("--since is a time such as 2026-11-24T15:04:05Z, \"2026-11-24 15:04:05\" or 2026-11-24, or how long ago, such as 90m")
		}
	}
	return func(r activity.Record) bool {
		named := f.computer == "" || command.NamesDevice(f.computer, r.DeviceName.String(), r.DeviceID)
		return named && !r.Last().Before(since)
	}, nil
}

var logRecords = Operation("log", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]activity.Record, error) {
	return p.Signer.Activity.Records()
})

var verifyLog = Operation("log verify", func(_ context.Context, p *nativephone.Phone, _ nothing) (activity.Verification, error) {
	return p.Signer.Activity.Verify()
})

var exportLog = Operation("log export", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]byte, error) {
	return p.Signer.Activity.Export()
})

func newLogCommand(a *app) *cobra.Command {
	var filter logFilter
	cmd := a.WithJSON(&cobra.Command{
		Use: "log", Short: "Show what was asked, what came of it, and what was changed here",
		Long: `Shows what was asked of this phone and what became of it, and what was done to its
keys, policies and pairings, oldest first. With --json, one record on each line.

Requests that ended without your decision (refused, expired, withdrawn) are one
record for each computer, reason and minute, with their number. They have a quota of
their own: however many there are, no approval or change is dropped for them.

Each record holds the hash of the one before it: see vmux phone log verify.`,
		Example: "  vmux phone log\n  vmux phone log --computer laptop --since 90m --json > report.jsonl\n  vmux phone log verify",
		RunE: func(cmd *cobra.Command, _ []string) error {
			meant, err := filter.matcher(time.Now())
			if err != nil {
				return err
			}
			records, err := logRecords(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			records = slices.DeleteFunc(records, func(r activity.Record) bool { return !meant(r) })
			if len(records) == 0 {
				none := "the log has no such records"
				if filter == (logFilter{}) {
					none = "nothing was asked of this phone yet, or changed on it"
				}
				a.Say("%s", none)
			}
			for _, r := range records {
				if err := a.Answer(r, func() error { return a.Line("%s", recordLine(r)) }); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.Flags().StringVar(&filter.computer, "computer", "", "only what this `COMPUTER` has asked: its name, or its device ID or the first six characters or more")
	cmd.Flags().StringVar(&filter.since, "since", "", "only since a `TIME` such as 2026-11-24T15:04:05Z, or so long ago: 90m")
	cmd.AddCommand(newLogVerifyCommand(a), newLogExportCommand(a))
	return cmd
}

// recordLine says a record in a line: when, what became of it, and of what.
func recordLine(r activity.Record) string {
	fields := []string{command.LocalTime(r.Time), fmt.Sprintf("%-9s", wire.Show(r.Decision))}
	if name := r.DeviceName.String(); name != "" {
		fields = append(fields, name)
	}
	if n := r.Times(); n > 1 {
		fields = append(fields, fmt.Sprintf("%d times until %s", n, r.Last().Local().Format("15:04:05")))
	}
	switch r.Kind {
	case "sign", "certificate", "revocation", "key":
		if r.Label != (wire.Text{}) { // it was found
			fields = append(fields, "key "+r.Label.String())
		}
	case "ca":
		fields = append(fields, "CA")
	case "pairing":
		fields = append(fields, "device "+shortDevice(r.DeviceID))
	case "grants":
		fields = append(fields, "grants")
	}
	what := r.What.String()
	if r.Kind == "certificate" {
		what = "session certificate"
		if len(r.Principals) > 0 {
			what += " for " + strings.Join(r.Principals, ",")
		}
	}
	if others := len(r.Asked) > 1; others {
		what += ", and others"
	}
	how := ""
	switch {
	case r.Grant:
		how = "by a grant, nobody was asked"
	case r.Remembered:
		how = "the passphrase was remembered"
	}
	for _, text := range []string{what, how, r.Message.String()} {
		if text != "" {
			fields = append(fields, wire.Show(text))
		}
	}
	return strings.Join(fields, "  ")
}

// shortDevice is as much of a device ID as commands take for it.
func shortDevice(id string) string {
	if parsed, err := device.ParseID(id); err == nil {
		return parsed.Short()
	}
	return wire.Show(id)
}

// errTampered ends `vmux phone log verify`, which has said what is wrong.
var errTampered = errors.New("the log was changed, or is damaged")

func newLogVerifyCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use: "verify", Short: "Check that no record was changed, removed or added",
		Long: `Follows the chains of hashes through the log, and says what was changed or is
missing, and what was dropped since newer records needed its place.

It prints the number and hash of the last record: of your decisions and the changes
of keys, policies and pairings, then, named, of requests that were granted, and of
those that were refused. Note them elsewhere, and a log that was written anew as a
whole is found as well.`,
		Example: "  vmux phone log verify",
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := verifyLog(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if err := a.Answer(report, func() error { return a.showChains(report) }); err != nil {
				return err
			}
			for _, l := range report.Logs {
				if l.Dropped != nil {
					a.Say("%s", droppedText(l))
				}
			}
			if report.Unfinished > 0 {
				a.Say("left unfinished by a crash: %s", command.Counted(report.Unfinished, "line"))
			}
			for _, problem := range report.Problems {
				a.Say("%s", problem)
			}
			if len(report.Problems) > 0 {
				return command.WithHint(errTampered, "vmux phone log export > FILE keeps what there is; docs/destinations.md tells what the chain shows")
			}
			if report.Records == 1 {
				a.Say("1 record is as it was written")
			} else {
				a.Say("%d records are as they were written", report.Records)
			}
			return nil
		},
	})
}

// showChains prints where each log ends. That of decisions comes first, and has a line
// though nothing is in it.
func (a *app) showChains(report activity.Verification) error {
	for _, l := range report.Logs {
		if l.Log != "" && l.Last == 0 {
			continue
		}
		if err := a.Line("%s", strings.TrimSpace(strings.Join([]string{fmt.Sprint(l.Last), l.Hash, l.Log}, " "))); err != nil {
			return err
		}
	}
	return nil
}

// droppedText says what a log no longer has, and until when.
func droppedText(l activity.Chain) string {
	d, of := l.Dropped, ""
	if l.Log != "" {
		of = " of " + l.Log + " requests"
	}
	text := fmt.Sprintf("dropped by age: the first %s%s", command.Counted(int(d.Records), "record"), of)
	if !d.Until.IsZero() {
		text += ", until " + command.LocalTime(d.Until)
	}
	nouns := map[string]string{"sign": "signature", "pairing": "computer", "ca": "CA", "grants": "grant setting"}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(d.Kinds)) {
		noun, decision, _ := strings.Cut(kind, " ")
		kinds = append(kinds, wire.Show(command.Counted(d.Kinds[kind], cmp.Or(nouns[noun], noun))+" "+decision))
	}
	if len(kinds) == 0 {
		return text + "; of which kinds, this version cannot tell"
	}
	return text + ": " + strings.Join(kinds, ", ")
}

func newLogExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Print the log as it rests, with its chain of hashes",
		Example: "  vmux phone log export > activity.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := exportLog(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			return a.Text(string(b))
		},
	}
}
