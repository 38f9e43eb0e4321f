package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/doctor"
	"vmux/internal/state"
	"vmux/internal/wire"
)

func newDoctorCommand(a *app) *cobra.Command {
	var o doctor.Options
	var report bool
	cmd := a.WithJSON(&cobra.Command{
		Use:   "doctor",
		Short: "Find what stands between you and a login",
		Long: `Looks at everything on the way from this shell to the phone, and prints a line for
each: ok, warning or failure, and below it the command that helps. What only follows
from something else that is wrong is not named. Nothing is changed, and no phone asked.

--host logs in to a server, for which the phone may ask you, and runs "date +%s" there.
--ring rings the phones. --report leaves out all names, addresses and keys: it can be
posted.

Exit status: 0 nothing that keeps a login from working, 1 a failure.`,
		Example: "  vmux doctor\n  vmux doctor --host alice@server.example.com\n  vmux doctor --report",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.HasPrefix(o.Host, "-") {
				return command.Usagef("--host accepts USER@HOST, not %s", wire.Show(o.Host))
			}
			return a.doctor(cmd.Context(), o, report)
		},
	})
	cmd.Flags().StringVar(&o.Host, "host", "", "also log in to `USER@HOST`, which may ask the phone")
	cmd.Flags().BoolVar(&o.Wake, "ring", false, "also ring the phones")
	cmd.Flags().BoolVar(&report, "report", false, "print what can be posted: no names, addresses or keys")
	return cmd
}

func (a *app) doctor(ctx context.Context, o doctor.Options, report bool) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	if o.Socket, err = home.AgentSocket(); err != nil {
		return err
	}
	o.Version, o.Agent = command.Version, command.Client()
	o.State = []string{home.Path(), filepath.Join(home.Path(), "agent")}
	if o.Host != "" {
		a.Say("logging in to %s: the phone may ask you", wire.Show(o.Host))
	}
	facts := doctor.Look(ctx, o)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	findings := doctor.Judge(facts)
	if report { // lines of words that are the same for everybody
		r := doctor.ReportOf(facts, findings)
		err = a.Answer(r, func() error {
			text := fmt.Sprintf("vmux %s, %s, OpenSSH %s\n", r.Version, r.Platform, r.OpenSSH)
			for _, f := range r.Findings {
				text += fmt.Sprintf("%-8s %s: %s\n", f.Level, f.Check, f.Code)
			}
			return a.Text(text)
		})
	} else {
		err = a.showFindings(findings)
	}
	if err == nil && doctor.Worst(findings) == doctor.Failure {
		return command.Exit(wire.ExitFailed)
	}
	return err
}

func (a *app) showFindings(findings []doctor.Finding) error {
	return a.Answer(findings, func() error {
		count := map[doctor.Level]int{}
		for _, f := range findings {
			count[f.Level]++
			text := fmt.Sprintf("%-8s %s: %s\n", f.Level, f.Check, f.Text)
			if f.Hint != "" {
				text += "         hint: " + f.Hint + "\n"
			}
			if err := a.Text(text); err != nil {
				return err
			}
		}
		if bad, warned := count[doctor.Failure], count[doctor.Warning]; bad+warned > 0 {
			a.Say("%s, %s", command.Counted(bad, "failure"), command.Counted(warned, "warning"))
		}
		return nil
	})
}
