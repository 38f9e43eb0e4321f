package cli

import (
	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/wire"
)

func newKeysRefreshCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:   "refresh",
		Short: "Read the list of keys from the connected phones again",
		Long: `Asks each connected phone for its keys, and prints what SSH clients see now. The
list of a phone that does not answer stays as it was. Servers that took none of
the keys, and so were offered fewer, are offered all again.`,
		Example: "  vmux keys refresh",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := command.Client().RefreshKeys(cmd.Context())
			if err != nil {
				return err
			}
			return a.Answer(r, func() error {
				for _, p := range r.Phones {
					if p.Error != nil {
						a.Say("%s: %s", wire.Show(p.Name), wire.Show(p.Error.Sentence))
					} else {
						a.Say("%s: %s", wire.Show(p.Name), command.Counted(p.Keys, "key"))
					}
				}
				return a.Text(identityLines(r.Identities))
			})
		},
	})
}
