package phonecmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/nativephone/asking"
	"vmux/internal/signer"
	"vmux/internal/state"
)

func newAttachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "attach",
		Short: "Be asked in this terminal by the phone that runs",
		Long: `Shows here what paired computers ask of the phone that runs, as a service or in
another terminal, and takes the answers. One terminal is asked at a time: this one,
until ^C detaches it or another one is attached. The phone goes on.

A passphrase that is typed here is remembered here alone (vmux phone run --remember),
until this terminal is detached at the latest.`,
		Example: "  vmux phone attach",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.attach(cmd.Context()) },
	}
}

func (a *app) attach(ctx context.Context) error {
	if err := command.ForbidTracing(); err != nil { // passphrases go through it
		return fmt.Errorf("forbid tracing: %w", err)
	}
	tty, ok := a.terminal()
	if !ok {
		return command.Usage("there is no terminal to ask on", "run it in a terminal")
	}
	home, err := state.Find()
	if err != nil {
		return err
	}
	p, running, err := nativephone.Reach(ctx, home, "vmux phone attach", signer.Approver{}, nil)
	switch {
	case err != nil:
		return inUse(err)
	case p != nil:
		p.Close()
		return command.WithHint(errors.New("the phone does not run"), "vmux phone run, or its service: systemctl --user start vmux-phone")
	}
	connection, err := running.Attach(ctx, asking.Protocol)
	if err != nil {
		return command.OrHint(err, "end `vmux phone run` and start it again: it is of another version, or asks nobody (--approve always)")
	}
	err = asking.Attach(ctx, tty, connection)
	a.Aside("\n") // below a question that stands there
	if err != nil {
		return command.OrHint(err, "vmux phone attach")
	}
	a.Say("detached: the phone goes on")
	return nil
}
