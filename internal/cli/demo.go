package cli

import (
	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/demo"
	"vmux/internal/hostname"
)

func newDemoCommand(a *app) *cobra.Command {
	c := demo.Config{
		HubHost: hubHost, In: a.In, Text: a.Text, Say: a.Say, Aside: a.Aside,
		QRCode: qrCode, OpenSSHVersion: opensshVersion,
	}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it on this machine, in a scratch folder",
		Long: `Runs a phone, a computer's agent and a private SSH server on this machine, as
real processes in a scratch folder, and logs in with the real ssh: first by a
key that only the phone holds, then by a session certificate. You are the
phone's owner and approve on this terminal; --yes approves by itself.

With --web, the phone is the web app in a browser on this computer; with --phone,
it is the web app on a phone of yours in the same network. You press the buttons
there, and the demonstration says which.

Nothing of yours is touched: not ~/.ssh, not a running agent, not the system's
SSH server. It all listens on the loopback interface only (with --phone, the hub
is for your network), and is gone at the end, also after ^C.`,
		Example: `  vmux demo --yes
  vmux demo --web
  vmux demo --phone`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case c.Web && c.Handset:
				return command.Usagef("--web and --phone exclude each other")
			case c.Name != "" && !c.Handset:
				return command.Usagef("--name is for --phone")
			case !c.Yes && !c.Web && !c.Handset && !a.Interactive():
				return command.Usage("there is no terminal to ask for approval on", "vmux demo --yes")
			}
			if c.Handset && c.Name == "" {
				var err error
				if c.Name, err = hostname.Local(); err != nil {
					return nameless(err, "--name NAME")
				}
			}
			return demo.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&c.Yes, "yes", false, "approve by itself; no terminal is needed (with --web and --phone: open no browser and wait for no key, but for the phone)")
	cmd.Flags().BoolVar(&c.Web, "web", false, "the phone is the web app in a browser on this computer")
	cmd.Flags().BoolVar(&c.Handset, "phone", false, "the phone is the web app on a real one, in the same network")
	cmd.Flags().StringVar(&c.Name, "name", "", "with --phone: the host `NAME` by which it finds this computer (default this computer's with .local)")
	cmd.Flags().BoolVar(&c.Keep, "keep", false, "leave the scratch folder, to look at")
	return cmd
}
