package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func newCACommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use:   "ca [DEVICE]",
		Short: "Print the phone's CA key, for servers to trust",
		Long: `Prints the public key of the phone's certificate authority: one line for a
server's TrustedUserCAKeys, with the phone's name as its comment. How a server is
told stands on standard error. DEVICE is a phone's name, or the beginning of its
ID; it is needed when several phones have a CA, since a server that trusts one
lets in whom that phone names.`,
		Example: "  vmux ca | ssh admin@server 'sudo tee /etc/ssh/vmux_ca.pub'\n  vmux ca my-phone",
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.showCA(cmd.Context(), strings.Join(names, ""))
		},
	})
	cmd.AddCommand(newCAAcceptCommand(a))
	cmd.Args = func(cmd *cobra.Command, got []string) error {
		if len(got) > 1 {
			return command.Usagef("%s has no command %s", cmd.CommandPath(), wire.Show(got[0]))
		}
		return nil
	}
	return cmd
}

func (a *app) showCA(ctx context.Context, device string) error {
	all, err := command.Client().CA(ctx)
	if err != nil {
		return err
	}
	if device != "" {
		all = slices.DeleteFunc(all, func(ca control.CA) bool { return !command.NamesDevice(device, ca.Phone, ca.DeviceID) })
		if len(all) == 0 {
			return command.WithHint(fmt.Errorf("no paired phone %s has a CA", wire.Show(device)), "vmux devices")
		}
	}
	if a.JSON {
		return a.Value(all)
	}
	var confirmed []control.CA
	for _, ca := range all {
		if ca.Confirmed {
			confirmed = append(confirmed, ca)
		} else {
			a.Say("%s", changeText(ca))
			a.Hint("vmux ca accept %s", ca.DeviceID)
		}
	}
	switch all = control.DistinctCAs(all); {
	case len(all) == 0:
		return noCAOf(ctx)
	case len(confirmed) == 0:
		return errors.New("no CA is confirmed")
	case len(all) > 1: // one that waits to be accepted counts: it must not decide whose line this is
		var phones []string
		for _, ca := range all {
			phones = append(phones, wire.Show(ca.Phone))
		}
		return command.Usage("several phones have a CA: "+strings.Join(phones, ", ")+"; name the one that the server is to trust", "vmux ca "+all[0].DeviceID)
	}
	if err := a.Text(confirmed[0].Line + " " + wire.Show(confirmed[0].Phone) + "\n"); err != nil {
		return err
	}
	a.Say("%s", trustText)
	return nil
}

// noCAOf says why there is no CA.
func noCAOf(ctx context.Context) error {
	phones, err := command.Client().Devices(ctx)
	switch {
	case err != nil:
		return err
	case len(phones) == 0:
		return command.WithHint(errors.New("no phone is paired"), "vmux pair")
	}
	return command.WithHint(errors.New("no paired phone has a CA"), "make one on the phone: in the app, or with vmux phone ca create")
}

const trustText = `a server is told of it by: vmux server trust --ca USER@HOST
or by hand: it trusts the CA when the line above is in a file there, and sshd_config says
    TrustedUserCAKeys /etc/ssh/vmux_ca.pub
Certificates are good for the accounts that are among their principals.`

func changeText(ca control.CA) string {
	if ca.Previous == "" {
		return fmt.Sprintf("%s has a CA that is not accepted yet: %s", wire.Show(ca.Phone), ca.Fingerprint)
	}
	return fmt.Sprintf("the CA of %s has changed: it was %s, now it is %s", wire.Show(ca.Phone), ca.Previous, ca.Fingerprint)
}

func newCAAcceptCommand(a *app) *cobra.Command {
	var fingerprint string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "accept [DEVICE]",
		Short: "Accept the CA of a phone, if it was made after pairing",
		Long: `The agent uses no certificate of another CA than the one that this phone had when
it was paired. After you have made a CA on the phone, compare its fingerprint
(` + "`vmux phone ca show`" + ` there) and accept it here. Servers have to be told of the
new CA as well. DEVICE is needed when several phones have a new CA.`,
		Example: "  vmux ca accept\n  vmux ca accept my-phone --fingerprint SHA256:…",
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.acceptCA(cmd.Context(), strings.Join(names, ""), fingerprint)
		},
	})
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "`FINGERPRINT` that you have compared; asks on the terminal without")
	return cmd
}

func (a *app) acceptCA(ctx context.Context, device, fingerprint string) error {
	all, err := command.Client().CA(ctx)
	if err != nil {
		return err
	}
	ca, err := changedCA(all, device)
	if err != nil {
		return err
	}
	if fingerprint == "" {
		if err := a.confirmCA(ctx, ca); err != nil {
			return err
		}
		fingerprint = ca.Fingerprint
	}
	accepted, err := command.Client().AcceptCA(ctx, ca.DeviceID, fingerprint)
	if err != nil {
		return err
	}
	return a.Answer(accepted, func() error {
		a.Say("accepted: certificates by the CA %s of %s", accepted.Fingerprint, wire.Show(accepted.Phone))
		return nil
	})
}

// changedCA finds the one CA that waits for the user's word.
func changedCA(all []control.CA, device string) (control.CA, error) {
	var found []control.CA
	for _, ca := range all {
		if !ca.Confirmed && (device == "" || command.NamesDevice(device, ca.Phone, ca.DeviceID)) {
			found = append(found, ca)
		}
	}
	switch {
	case len(found) == 0:
		return control.CA{}, command.WithHint(errors.New("no CA waits to be accepted"), "vmux ca shows the one in use")
	case len(found) > 1:
		return control.CA{}, command.WithHint(errors.New("several phones have a new CA"), "vmux ca accept %s", found[0].DeviceID)
	}
	return found[0], nil
}

// confirmCA asks on the terminal. Without one, nobody has compared anything.
func (a *app) confirmCA(ctx context.Context, ca control.CA) error {
	a.Say("%s", changeText(ca))
	if !a.Interactive() {
		return command.Usage("compare the fingerprint with the one on the phone", "vmux ca accept "+ca.DeviceID+" --fingerprint "+ca.Fingerprint)
	}
	if !a.Confirmed(ctx, "Does the phone show the same (vmux phone ca show)?") {
		return command.WithHint(errors.New("not accepted: its certificates stay refused"), "vmux ca accept, once you have compared the fingerprints")
	}
	return nil
}
