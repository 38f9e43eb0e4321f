package phonecmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/nativephone"
	"vmux/internal/signer"
)

func newGrantsCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "grants", Short: "List what is signed without asking, for a while",
		Long: `A grant lets one computer use one key for logins as one user to one verified
server, or for git signatures, without asking, for at most an hour. It is given
with an approval, once grants are switched on or a sheet offers one (the third like
request within a minute; not after "vmux phone grants off"), and ends by itself, with
"vmux phone grants end", and when vmux phone run ends.`,
		Example: "  vmux phone grants on\n  vmux phone grants\n  vmux phone grants end",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.showGrants(cmd.Context()) },
	})
	cmd.AddCommand(newGrantsSwitch("on", "Let approvals grant the like of them for a while", true),
		newGrantsSwitch("off", "Ask for each request, and end all grants", false),
		&cobra.Command{
			Use: "end", Short: "End all grants now", Example: "  vmux phone grants end",
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := endGrants(cmd.Context(), nothing{})
				return err
			},
		})
	return cmd
}

type grantsAnswer struct {
	Enabled bool
	List    []signer.Grant
}

var grants = Operation("grants", func(_ context.Context, p *nativephone.Phone, _ nothing) (grantsAnswer, error) {
	on, err := p.Signer.GrantsEnabled()
	return grantsAnswer{on, p.Signer.Grants()}, err
})

var enableGrants = Operation("grants on", func(_ context.Context, p *nativephone.Phone, on bool) (nothing, error) {
	return nothing{}, p.Signer.EnableGrants(on)
})

var endGrants = Operation("grants end", func(_ context.Context, p *nativephone.Phone, _ nothing) (nothing, error) {
	p.Signer.EndGrant("")
	return nothing{}, nil
})

func (a *app) showGrants(ctx context.Context) error {
	grants, err := grants(ctx, nothing{})
	if err != nil {
		return err
	}
	if !grants.Enabled {
		a.Say("grants are off: each request is asked for")
	}
	return a.Answer(grants.List, func() error {
		for _, g := range grants.List {
			left := time.Until(g.Until).Round(time.Second)
			if err := a.Line("%s  %s  %s  key %s  for %s more", g.ID, g.DeviceName, g.What, g.Label, left); err != nil {
				return err
			}
		}
		return nil
	})
}

func newGrantsSwitch(word, short string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: word, Short: short, Example: "  vmux phone grants " + word,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := enableGrants(cmd.Context(), on)
			return err
		},
	}
}
