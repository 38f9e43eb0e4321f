package phonecmd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer/certificates"
	"vmux/internal/state"
	"vmux/internal/wire"
)

var issued = Operation("ca certificates", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]certificates.Issued, error) {
	return p.Signer.Certificates.All()
})

// revocation is of one certificate or of all: an empty serial is none.
type revocation struct {
	Serial string
	All    bool
}

var revoke = Operation("ca revoke", func(_ context.Context, p *nativephone.Phone, in revocation) ([]certificates.Issued, error) {
	revoked, err := p.Signer.Certificates.Revoke(func(i certificates.Issued) bool { return in.All || i.Serial == in.Serial })
	if errors.Is(err, certificates.ErrNoCertificate) {
		return nil, command.WithHint(err, "vmux phone ca certificates")
	}
	return revoked, err
})

var revocationList = Operation("ca krl", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]byte, error) {
	return p.Signer.Certificates.KRL()
})

func newCACertificatesCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use: "certificates", Short: "List the session certificates that this phone has issued",
		Long: `Lists the session certificates that this phone has issued, oldest first, until 30
days after their end. With --json, one on each line.`,
		Example: "  vmux phone ca certificates",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := issued(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.Say("no session certificates yet")
			}
			for _, c := range list {
				if err := a.Answer(c, func() error { return a.Line("%s", certificateLine(c, time.Now())) }); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func certificateLine(c certificates.Issued, now time.Time) string {
	state := "valid until " + command.LocalTime(c.ValidUntil)
	switch {
	case c.Revoked():
		state = "revoked " + command.LocalTime(c.RevokedAt)
	case !now.Before(c.ValidUntil):
		state = "expired " + command.LocalTime(c.ValidUntil)
	}
	return strings.Join([]string{c.Serial, c.DeviceName.String(), "as " + wire.Show(strings.Join(c.Principals, ",")), "for " + c.Label.String(), state}, "  ")
}

func newCARevokeCommand(a *app) *cobra.Command {
	var all bool
	cmd := a.WithJSON(&cobra.Command{
		Use: "revoke [SERIAL]", Short: "Revoke session certificates",
		Long: `Revokes a session certificate by its serial, or all of them. The computer drops
it at once, or as soon as it connects. A computer that is in wrong hands need not:
give the list of vmux phone ca krl to your servers.`,
		Example: "  vmux phone ca revoke 1234567890\n  vmux phone ca revoke --all",
		RunE: func(cmd *cobra.Command, v []string) error {
			if all == (len(v) == 1) {
				return command.Usagef("name a SERIAL, or --all")
			}
			in := revocation{All: all}
			if !all {
				in.Serial = v[0]
			}
			revoked, err := revoke(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.Answer(revoked, func() error {
				for _, c := range revoked {
					a.Say("revoked %s of %s", c.Serial, c.DeviceName.String())
				}
				a.Hint("vmux phone ca krl FILE, for RevokedKeys of your servers")
				return nil
			})
		},
	})
	cmd.Flags().BoolVar(&all, "all", false, "all that this phone has issued")
	return cmd
}

func newCAKRLCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "krl FILE", Short: "Write the revoked certificates as an OpenSSH revocation list",
		Long: `Writes a key revocation list (KRL) for sshd's RevokedKeys; - is standard output.
ssh-keygen -Q reads it. Put it on each server that trusts the CA:

  RevokedKeys /etc/ssh/vmux.krl`,
		Example: "  vmux phone ca krl vmux.krl\n  vmux phone ca krl - | ssh admin@server 'sudo tee /etc/ssh/vmux.krl > /dev/null'",
		RunE: func(cmd *cobra.Command, v []string) error {
			krl, err := revocationList(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if v[0] == "-" {
				return a.Text(string(krl))
			}
			return command.WrongFile(state.WriteFile(v[0], krl, 0o600), "a FILE in a folder that is there, or - for standard output")
		},
	}
}
