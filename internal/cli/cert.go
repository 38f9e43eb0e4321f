package cli

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func newCertRequestCommand(a *app) *cobra.Command {
	var o control.CertificateOptions
	var validity time.Duration
	cmd := a.WithJSON(&cobra.Command{
		Use:   "request",
		Short: "Get a session certificate from the phone, which asks you",
		Long: `Makes a fresh key in the agent's memory and asks the phone's certificate
authority to certify it. The phone may shorten what you ask for. Until the
certificate expires, logins by it ask nobody.`,
		Example: `  vmux cert request
  vmux cert request --validity 1h --principals deploy`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if validity < time.Second {
				return command.Usagef("--validity accepts one second and more")
			}
			o.ValiditySeconds = int64(validity / time.Second)
			phones, err := command.Client().Devices(cmd.Context())
			if err != nil {
				return err
			}
			if len(phones) > 0 { // else nobody is asked
				a.Say("asking the phone: approve it there")
			}
			cert, err := command.Client().RequestCertificate(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.Answer(cert, func() error { return a.Text(certificateText(cert)) })
		},
	})
	flags := cmd.Flags()
	flags.DurationVar(&validity, "validity", 8*time.Hour, "how long it shall be valid")
	flags.StringVar(&o.Identity, "identity", "", "`KEY` that it stands for: comment or fingerprint (default the phone's default)")
	flags.StringSliceVar(&o.Principals, "principals", nil, "`NAMES` it shall be good for (default what the phone has set)")
	flags.StringVar(&o.Phone, "phone", "", "`DEVICE` to ask: name, or beginning of its ID (default the one with a CA)")
	return cmd
}

func newCertShowCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:     "show",
		Short:   "Show the session certificate",
		Long:    "Prints what the session certificate says. Exit status 1 when there is none.",
		Example: "  vmux cert show\n  vmux cert show --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cert, err := command.Client().ShowCertificate(cmd.Context())
			if err != nil {
				return err
			}
			if cert.State == control.CertificateNone {
				return command.WithHint(errors.New("there is no session certificate"), "vmux cert request")
			}
			return a.Answer(cert, func() error { return a.Text(certificateText(cert)) })
		},
	})
}

// certificateText says what ssh-keygen -L would, as far as it tells something.
func certificateText(c control.Certificate) string {
	var b strings.Builder
	row := func(name, value string) {
		if value != "" {
			b.WriteString(name + strings.Repeat(" ", 13-len(name)) + wire.Show(value) + "\n")
		}
	}
	row("state", string(c.State))
	row("valid until", command.LocalTime(c.ValidBefore))
	row("principals", strings.Join(c.Principals, ", "))
	row("key ID", c.KeyID)
	row("serial", c.Serial)
	row("fingerprint", c.Fingerprint)
	row("CA", c.CAFingerprint)
	row("phone", c.Phone)
	for _, name := range slices.Sorted(maps.Keys(c.CriticalOptions)) {
		row("limited to", name+" "+c.CriticalOptions[name])
	}
	row("extensions", strings.Join(slices.Sorted(maps.Keys(c.Extensions)), ", "))
	return b.String()
}
