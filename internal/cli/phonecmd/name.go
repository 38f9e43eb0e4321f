package phonecmd

import (
	"context"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
)

var phoneName = Operation("name", func(_ context.Context, p *nativephone.Phone, to *string) (string, error) {
	if to != nil {
		if err := p.Rename(*to); err != nil {
			return "", err
		}
	}
	return p.Name(), nil
})

func newNameCommand(a *app) *cobra.Command {
	var name string
	cmd := a.WithJSON(&cobra.Command{
		Use:     "name",
		Short:   "Show or change the name by which computers know this phone",
		Long:    "Shows the name by which computers know this phone. With --name it is another one\nfrom now on, and computers that are connected learn it at once.",
		Example: "  vmux phone name\n  vmux phone name --name work",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := command.CheckName(name); err != nil {
				return err
			}
			is, err := phoneName(cmd.Context(), given(cmd, "name", name))
			if err != nil {
				return err
			}
			return a.Answer(is, func() error { return a.Line("%s", is) })
		},
	})
	nameFlag(cmd, &name)
	return cmd
}
