package cli

import "github.com/spf13/cobra"

// newPhoneCommand is `vmux phone` and all below it.
func newPhoneCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "phone",
		Short: "Be the phone: hold SSH keys and sign with them after approval",
	}
	return asGroup(a, cmd)
}
