// Package phonecmd is the commands of `vmux phone`. All of them work whether or not
// `vmux phone run` is running: operation.go says how.
package phonecmd

import (
	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
)

// app is what every command of this package works with.
type app struct{ *command.IO }

// hubNone is in the place of a hub's URL.
const hubNone = "none"

// New makes `vmux phone` and all below it, others among that.
func New(io *command.IO, others ...*cobra.Command) *cobra.Command {
	a := &app{io}
	cmd := a.Group("phone", "Be the phone: hold SSH keys and sign with them after approval",
		newRunCommand(a), newAttachCommand(a), newLockCommand(a), newNameCommand(a), newIdentityCommand(a),
		a.Group("ca", "The certificate authority that issues session certificates",
			newCACertificatesCommand(a), newCARevokeCommand(a), newCAKRLCommand(a),
			newCACreateCommand(a), newCAShowCommand(a), newCAPolicyCommand(a), newCADeleteCommand(a)),
		newPairCommand(a), newDevicesCommand(a), newUnpairCommand(a), newLogCommand(a),
		newPolicyCommand(a), newGrantsCommand(a), newHostsCommand(a), newPausesCommand(a))
	cmd.AddCommand(others...)
	cmd.Long = `The phone's side, on any second machine: it holds the SSH keys in encrypted
files, shows what paired computers ask for, and signs what you approve.

All of these commands but retire, which asks the agent of this computer, work whether
or not "vmux phone run" is running.`
	return cmd
}

// passphraseFlag gives a command --passphrase-file.
func passphraseFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "passphrase-file", "", "read the passphrase from `FILE` (- is standard input) instead of asking")
}

// nameFlag gives a command --name.
func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", "", "the `NAME` by which computers know this phone, from now on; empty is its host name (default that of last time)")
}
