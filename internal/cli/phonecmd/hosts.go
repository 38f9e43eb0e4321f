package phonecmd

import (
	"context"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer/hosts"
	"vmux/internal/wire"
)

var rememberedHosts = Operation("hosts", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]hosts.Host, error) {
	return p.Signer.Hosts.All()
})

var forgetHost = Operation("hosts forget", func(_ context.Context, p *nativephone.Phone, fingerprint string) (nothing, error) {
	return nothing{}, command.WithHint(p.Signer.Hosts.Forget(fingerprint), "vmux phone hosts")
})

func newHostsCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "hosts", Short: "List the servers that this phone remembers",
		Long: `Lists the servers of approved logins: the fingerprint of the host key, which was
verified, and the names and users by which it was reached.`,
		Example: "  vmux phone hosts\n  vmux phone hosts forget SHA256:…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := rememberedHosts(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.Say("no servers yet: none of the approved logins said where to")
			}
			for _, h := range list {
				err := a.Answer(h, func() error {
					return a.Line("%s  %s  as %s  last %s", h.Fingerprint(), wire.Clean(wire.JoinTexts(h.Names, ",").String()), wire.Clean(wire.JoinTexts(h.Users, ",").String()), command.LocalTime(h.LastSeen))
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "forget FINGERPRINT", Short: "Forget a server: its next login is the first one",
		Example: "  vmux phone hosts forget SHA256:…",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := forgetHost(cmd.Context(), v[0])
			return err
		},
	})
	return cmd
}
