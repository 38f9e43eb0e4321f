package phonecmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/nativephone"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// pauseAnswer is a pause in JSON.
type pauseAnswer struct {
	signer.Pause
	*activity.Report
}

var pauses = Operation("pauses", func(_ context.Context, p *nativephone.Phone, _ nothing) (list []pauseAnswer, err error) {
	all, err := p.Signer.Pauses()
	for _, pause := range all {
		answer := pauseAnswer{Pause: pause}
		if err == nil && pause.Program == (wire.Text{}) {
			answer.Report = new(activity.Report)
			*answer.Report, err = p.Signer.Activity.Report(pause.DeviceID, pause.Since)
		}
		list = append(list, answer)
	}
	return list, err
})

var endPauses = Operation("pauses end", func(_ context.Context, p *nativephone.Phone, computer string) (nothing, error) {
	peer, err := findComputer(p, computer)
	if err == nil {
		err = p.Signer.EndPauses(peer.ID)
	}
	return nothing{}, err
})

func (a *app) showPause(p pauseAnswer) error {
	return a.Answer(p, func() error {
		if p.Program != (wire.Text{}) {
			err := a.pauseLine(p.Pause, p.Program)
			a.Hint("%s", terminal.EndCommand(p.Pause))
			return err
		}
		err := a.pauseLine(p.Pause, wire.Say("all programs"))
		for _, asked := range p.Asked {
			a.Say("asked for %s", asked)
		}
		a.Hint("%s", terminal.EndCommand(p.Pause))
		a.Hint("%s", terminal.LogCommand(p.Pause))
		a.Hint("vmux phone unpair %s", p.DeviceID.Short())
		return err
	})
}

func (a *app) pauseLine(p signer.Pause, who wire.Text) error {
	return a.Line("%s  %s  for %s more", p.DeviceName, who, time.Until(p.Until).Round(time.Second))
}

func newPausesCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "pauses", Short: "List the computers and programs that are not asked for now",
		Long: `After three denials within a minute a computer is paused for five; a program that
was muted, for an hour. Their requests are refused without asking.

Of a computer it also tells what it has asked for since the first of the denials.`,
		Example: "  vmux phone pauses\n  vmux phone pauses end laptop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := pauses(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.Say("nobody is paused or muted")
			}
			for _, pause := range list {
				if err := a.showPause(pause); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "end COMPUTER", Short: "Let a computer ask again",
		Example: "  vmux phone pauses end laptop",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := endPauses(cmd.Context(), v[0])
			return err
		},
	})
	return cmd
}
