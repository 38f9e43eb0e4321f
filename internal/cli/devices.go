package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/control"
	"vmux/internal/wire"
)

func newDevicesCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "devices",
		Short:   "List the paired phones",
		Long:    "Prints a line for each paired phone: its ID, its name, and whether it is connected.",
		Example: "  vmux devices\n  vmux devices --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			devices, err := client().Devices(cmd.Context())
			if err != nil {
				return err
			}
			if devices == nil {
				devices = []control.Device{}
			}
			return a.answer(devices, func() error {
				for _, d := range devices {
					if err := a.line("%s", deviceText(d)); err != nil {
						return err
					}
				}
				if len(devices) == 0 {
					a.say("no phone is paired")
					a.hint("vmux pair")
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
		words = append(words, "connected since "+localTime(d.Since), wire.Show(d.Route))
	case d.LastError != "":
		words = append(words, "not connected: "+wire.Show(d.LastError))
	default:
		words = append(words, "not connected")
	}
	return strings.Join(words, "  ")
}

func newUnpairCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "unpair DEVICE",
		Short: "End the pairing with a phone",
		Long: `Ends the pairing with the phone of that name, ID or beginning of an ID. Its keys
are no longer listed, its session certificate is destroyed, and it is told if it
can be reached.`,
		Example: "  vmux unpair my-phone",
		Args:    args("DEVICE"),
		RunE: func(cmd *cobra.Command, names []string) error {
			d, err := client().Unpair(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			return a.answer(d, func() error {
				a.say("unpaired %s, device ID %s", wire.Show(d.Name), d.ID)
				return nil
			})
		},
	})
}
