package phonecmd

import (
	"context"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
)

// locked is what was ended.
type locked struct {
	Passphrases int `json:"passphrases"`
	Grants      int `json:"grants"`
}

var lockPhone = Operation("lock", func(_ context.Context, p *nativephone.Phone, _ nothing) (locked, error) {
	passphrases, grants := p.Lock()
	return locked{passphrases, grants}, nil
})

func newLockCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:   "lock",
		Short: "Forget the passphrases that are remembered, and end all grants",
		Long: `Has the phone that runs forget the passphrases that it remembers (vmux phone run
--remember) and end what was approved in advance. The machine's sleep
and a locked screen do the same.`,
		Example: "  vmux phone lock",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lockPhone(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			return a.Answer(l, func() error {
				a.Say("locked: ended are %s and %s", command.Counted(l.Passphrases, "remembered passphrase"), command.Counted(l.Grants, "grant"))
				return nil
			})
		},
	})
}
