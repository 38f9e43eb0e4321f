package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/statusview"
	"vmux/internal/wire"
)

// shortPatience is how long a prompt waits for the agent.
const shortPatience = 200 * time.Millisecond

func newStatusCommand(a *app) *cobra.Command {
	var watch, short bool
	cmd := a.WithJSON(&cobra.Command{
		Use:   "status",
		Short: "Show the phone, the certificate, the keys, and what failed last",
		Long: `Prints a line on the connection, a line on the session certificate, and a line
for each identity that SSH clients see: its comment and fingerprint. What needs
your attention follows on standard error: the hub, if there is one, requests that
wait, the last failure with its reason, a login for which the server took none of
the keys, warnings. --json has all of it, and the recent history.

On a terminal identities and phones are tables. --watch draws all of it anew after
each change, with the history and how long the phones' answers take; q ends it.
--short is one line for a prompt, and says nothing else: "no agent" where none runs.

Exit status 3 while no phone is connected, 1 when no agent runs.`,
		Example: "  vmux status\n  vmux status --watch\n  vmux status --short\n  vmux status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case short && (watch || a.JSON):
				return command.Usagef("--short is one line, and neither --watch nor --json")
			case short:
				return a.shortStatus(cmd.Context())
			case watch:
				return a.watchStatus(cmd.Context())
			}
			return a.status(cmd.Context())
		},
	})
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until ^C: draw it anew on a terminal, and print it again in a pipe, after each change")
	cmd.Flags().BoolVar(&short, "short", false, "one line for a prompt, within 0.2 s")
	return cmd
}

func (a *app) status(ctx context.Context) error {
	s, err := command.Client().Status(ctx)
	if err != nil {
		return err
	}
	if err := a.showStatus(s); err != nil {
		return err
	}
	return orAway(s)
}

// orAway is that no phone is connected: scripts ask by the exit status, and the answer
// says it in words.
func orAway(s control.Status) error {
	if !s.Connected {
		return command.Exit(wire.ExitNotReachable)
	}
	return nil
}

// shortStatus writes nothing to standard error, which a prompt would show as well.
func (a *app) shortStatus(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortPatience)
	defer cancel()
	s, err := command.Client().Status(ctx)
	if err == nil {
		if err := a.Line("%s", statusview.Short(s, time.Now())); err != nil {
			return err
		}
		return orAway(s)
	}
	text := statusview.ShortNoAgent
	if errors.Is(err, context.DeadlineExceeded) {
		text = statusview.ShortNoAnswer
	}
	if err := a.Line("%s", text); err != nil {
		return err
	}
	return command.Exit(wire.ExitFailed)
}

func (a *app) watchStatus(ctx context.Context) error {
	if a.Columns() > 0 && !a.JSON && os.Getenv("TERM") != "dumb" { // which knows no escape sequences: M-x shell
		var keys io.Reader
		if a.Interactive() {
			keys = a.In
		}
		return statusview.Watch(ctx, keys, a.Out, command.Client())
	}
	first := true
	err := command.Client().Watch(ctx, func(s control.Status) error {
		if !a.JSON && !first {
			if err := a.Line(""); err != nil {
				return err
			}
		}
		first = false
		return a.showStatus(s)
	})
	if ctx.Err() != nil {
		return nil // which is how watching ends
	}
	return err
}

func (a *app) showStatus(s control.Status) error {
	return a.Answer(s, func() error {
		text := wire.Show(s.ConnectionLine) + "\n" + wire.Show(s.CertificateLine) + "\n" + identityLines(s.Identities)
		if columns := a.Columns(); columns > 0 {
			text = statusview.Table(s, columns, time.Now())
		}
		if err := a.Text(text); err != nil {
			return err
		}
		if _, err := os.Lstat(s.Socket); errors.Is(err, fs.ErrNotExist) {
			a.Say("ssh does not find the agent: its socket %s is gone", wire.Show(s.Socket))
			a.Hint("vmux doctor tells how it is made anew")
		}
		for _, n := range statusview.Notices(s, time.Now()) {
			if n.Text != "" {
				a.Say("%s", n.Text)
			}
			if n.Hint != "" {
				a.Hint("%s", n.Hint)
			}
		}
		return nil
	})
}

// identityLines are the identities as people compare them with ssh-keygen -l.
func identityLines(identities []control.Identity) string {
	var b strings.Builder
	for _, i := range identities {
		b.WriteString(wire.Show(i.Comment) + " " + i.Fingerprint + "\n")
	}
	return b.String()
}
