package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func newRingCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:   "ring [DEVICE]",
		Short: "Try whether the phone can be rung",
		Long: `Has the hub ring the phone of that name, ID or beginning of an ID, or all phones
whose app has said whether it can be rung: a notification appears there, the same
as when a request waits. Prints a line for each phone. That its push service has
taken the ring does not prove that the phone shows it: look at the phone. The
test in the app's Settings sees it arrive.

Exit status: 0 rung, 3 when a phone cannot be rung.`,
		Example: "  vmux ring\n  vmux ring my-phone",
		RunE: func(cmd *cobra.Command, names []string) error {
			list, err := command.Client().Wake(cmd.Context(), strings.Join(names, ""))
			if err != nil {
				return err
			}
			err = a.Answer(list, func() error {
				for _, r := range list {
					if r.Error != nil {
						a.Say("%s: %s", wire.Show(r.Name), wire.Show(r.Error.Sentence))
						a.Hint("%s", wire.Show(r.Error.Hint))
					} else if err := a.Line("%s was rung: its push service has taken it", wire.Show(r.Name)); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil && slices.ContainsFunc(list, func(r control.Woken) bool { return r.Error != nil }) {
				return command.Exit(wire.ExitNotReachable)
			}
			return err
		},
	})
}
