package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func newDevicesCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:     "devices",
		Short:   "List the paired phones",
		Long:    "Prints a line for each paired phone: its ID, its name, and whether it is connected.",
		Example: "  vmux devices\n  vmux devices --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			devices, err := command.Client().Devices(cmd.Context())
			if err != nil {
				return err
			}
			if devices == nil {
				devices = []control.Device{}
			}
			return a.Answer(devices, func() error {
				for _, d := range devices {
					if err := a.Line("%s", deviceText(d)); err != nil {
						return err
					}
				}
				if len(devices) == 0 {
					a.Say("no phone is paired")
					a.Hint("vmux pair")
				}
				return nil
			})
		},
	})
}

func deviceText(d control.Device) string {
	words := []string{d.ID, wire.Show(d.Name)}
	switch {
	case d.Connected:
		words = append(words, "connected since "+command.LocalTime(d.Since), wire.Show(d.Route))
	case d.LastError != "":
		words = append(words, "not connected: "+wire.Show(d.LastError))
	default:
		words = append(words, "not connected")
	}
	return strings.Join(words, "  ")
}

func newUnpairCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:   "unpair DEVICE",
		Short: "End the pairing with a phone",
		Long: `Ends the pairing with the phone of that name, ID or beginning of an ID. Its keys
are no longer listed, its session certificate is destroyed, and it is told if it
can be reached.`,
		Example: "  vmux unpair my-phone",
		RunE: func(cmd *cobra.Command, names []string) error {
			d, err := command.Client().Unpair(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			return a.Answer(d, func() error {
				a.Say("unpaired %s, device ID %s", wire.Show(d.Name), d.ID)
				return nil
			})
		},
	})
}
