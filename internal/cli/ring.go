package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/control"
	"vmux/internal/wire"
)

func newRingCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "ring [DEVICE]",
		Short: "Try whether the phone can be rung",
		Long: `Has the hub ring the phone of that name, ID or beginning of an ID, or all phones
whose app has said whether it can be rung: a notification appears there, the same
as when a request waits. Prints a line for each phone. That its push service has
taken the ring does not prove that the phone shows it: look at the phone. The
test in the app's Settings sees it arrive.

Exit status: 0 rung, 3 when a phone cannot be rung.`,
		Example: "  vmux ring\n  vmux ring my-phone",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, names []string) error {
			list, err := client().Ring(cmd.Context(), strings.Join(names, ""))
			if err != nil {
				return err
			}
			return a.woken(list)
		},
	})
}

// woken tells what came of it.
func (a *app) woken(list []control.Woken) error {
	err := a.answer(list, func() error {
		for _, r := range list {
			if r.Error != nil {
				a.say("%s: %s", wire.Show(r.Name), wire.Show(r.Error.Sentence))
				a.hint("%s", wire.Show(r.Error.Hint))
			} else if err := a.line("%s was rung: its push service has taken it", wire.Show(r.Name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(list, func(r control.Woken) bool { return r.Error != nil }) {
		return &exitError{wire.ExitNotReachable}
	}
	return err
}
