package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// logFilter says which records are shown; zero: all.
type logFilter struct {
	computer string // name, device ID, or the ID's beginning
	since    string
}

// minComputer is how much of a device ID names a computer.
const minComputer = 6

// matcher returns what tells the records that are meant.
func (f logFilter) matcher(now time.Time) (func(signer.Record) bool, error) {
	var since time.Time
	if f.since != "" {
		ago, err := time.ParseDuration(f.since)
		if since = now.Add(-ago); err != nil {
			since, err = time.Parse(time.RFC3339, f.since)
		}
		if err != nil {
			return nil, usagef("--since is a time such as 2026-11-24T15:04:05Z, or how long ago, such as 90m")
		}
	}
	return func(r signer.Record) bool {
		named := f.computer == "" || r.DeviceName == f.computer || len(f.computer) >= minComputer && strings.HasPrefix(r.DeviceID, f.computer)
		return named && !r.Time.Before(since)
	}, nil
}

// nothing says that no record is meant.
func (f logFilter) nothing() string {
	if f == (logFilter{}) {
		return "nothing was asked of this phone yet"
	}
	return "the log has no such records"
}

func newPhoneLogCommand(a *app) *cobra.Command {
	var filter logFilter
	cmd := a.withJSON(&cobra.Command{
		Use: "log", Short: "Show what was asked of this phone and what became of it", Args: args(),
		Long: `Shows what was asked of this phone and what became of it, oldest first. With
--json, one record on each line.

Each record holds the hash of the one before it: see vmux phone log verify.`,
		Example: "  vmux phone log\n  vmux phone log --computer laptop --since 90m --json > report.jsonl\n  vmux phone log verify",
		RunE: func(*cobra.Command, []string) error {
			meant, err := filter.matcher(time.Now())
			if err != nil {
				return err
			}
			p, err := openPhone()
			if err != nil {
				return err
			}
			records, err := p.Signer.Activity()
			if err != nil {
				return err
			}
			records = slices.DeleteFunc(records, func(r signer.Record) bool { return !meant(r) })
			if len(records) == 0 {
				a.say("%s", filter.nothing())
			}
			for _, r := range records {
				if err := a.answer(r, func() error { return a.line("%s", recordLine(r)) }); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.Flags().StringVar(&filter.computer, "computer", "", "only what this `COMPUTER` has asked: its name, or its device ID or the first six characters or more")
	cmd.Flags().StringVar(&filter.since, "since", "", "only since a `TIME` such as 2026-11-24T15:04:05Z, or so long ago: 90m")
	cmd.AddCommand(newPhoneLogVerifyCommand(a), newPhoneLogExportCommand(a))
	return cmd
}

func recordLine(r signer.Record) string {
	what := r.What
	if r.Kind == "certificate" {
		what = "session certificate for " + strings.Join(r.Principals, ",")
	}
	fields := []string{local(r.Time), pad(r.Decision, 9), wire.Show(r.DeviceName), "key " + wire.Show(r.Label), wire.Show(what)}
	if r.Grant {
		fields = append(fields, "by a grant, nobody was asked")
	}
	if r.Message != "" {
		fields = append(fields, wire.Show(r.Message))
	}
	return strings.Join(fields, "  ")
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-len(s))) }

// errTampered ends `vmux phone log verify`, which has said what is wrong.
var errTampered = errors.New("the log was changed, or is damaged")

func newPhoneLogVerifyCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "verify", Short: "Check that no record was changed, removed or added", Args: args(),
		Long: `Follows the chain of hashes through the log, and says what was changed or is
missing. It prints the last record's number and hash: note them elsewhere, and a
log that was written anew as a whole is found as well.`,
		Example: "  vmux phone log verify",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			report, err := p.Signer.VerifyActivity()
			if err != nil {
				return err
			}
			if err := a.answer(report, func() error { return a.line("%s", strings.TrimSpace(fmt.Sprint(report.Last, " ", report.Hash))) }); err != nil {
				return err
			}
			if report.Unfinished > 0 {
				a.say("%d lines were left unfinished by a crash", report.Unfinished)
			}
			for _, problem := range report.Problems {
				a.say("%s", problem)
			}
			if len(report.Problems) > 0 {
				return withHint(errTampered, "vmux phone log export > FILE keeps what there is; docs/destinations.md tells what the chain shows")
			}
			if report.Records == 1 {
				a.say("1 record is as it was written")
			} else {
				a.say("%d records are as they were written", report.Records)
			}
			return nil
		},
	})
}

func newPhoneLogExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Print the log as it rests, with its chain of hashes", Args: args(),
		Example: "  vmux phone log export > activity.jsonl",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			b, err := p.Signer.ExportActivity()
			if err != nil {
				return err
			}
			return a.text(string(b))
		},
	}
}
