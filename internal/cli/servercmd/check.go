package servercmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/serveraccess"
	"vmux/internal/wire"
)

func (a *app) newCheck() *cobra.Command {
	var c choice
	return c.hosts(a.WithJSON(&cobra.Command{
		Use:   "check [USER@HOST]",
		Short: "See which identities work on a server, and what is missing",
		Long: `Logs in as ssh does, and reads sshd's version, what it accepts and the account's
authorized_keys. Prints for each phone-held key and each CA whether it works there for
this account, and the line that is missing. Nothing is changed.

sshd's whole configuration is root's to read: where the account may not, and sudo would
ask for a password, its defaults are assumed, and that is said.

Exit status: 0 looked at, 1 not.`,
		Example: "  vmux server check deploy@server.example.com\n  vmux server check --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			candidates, err := candidates(cmd.Context())
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), &c, args, func(_ context.Context, s *serveraccess.Connection, r *result) error {
				r.Done, r.Config = "checked", new(string)
				if s.Facts.Config != nil {
					*r.Config = "account"
				}
				if s.SeenAsRoot {
					*r.Config = "root"
				}
				for _, candidate := range candidates {
					r.Verdicts = append(r.Verdicts, s.Judge(candidate))
				}
				if s.ConfigError != "" && s.Facts.Config == nil {
					r.Error = "sshd -T says: " + wire.Show(s.ConfigError)
				}
				return nil
			}, a.showCheck)
		},
	}))
}

// candidates are the phone-held keys, and the phones' CAs.
func candidates(ctx context.Context) (list []serveraccess.Candidate, err error) {
	status, err := command.Client().Status(ctx)
	if err != nil {
		return nil, err
	}
	cas, err := command.Client().CA(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range status.Identities {
		if !id.Certificate {
			list = append(list, serveraccess.Candidate{Name: wire.Show(id.Comment), Line: id.PublicKey})
		}
	}
	for _, ca := range cas {
		candidate := serveraccess.Candidate{Name: wire.Show(ca.Phone), Line: ca.Line + " " + wire.Show(ca.Phone), CA: true}
		if cert := status.Certificate; cert.State == control.CertificateValid && cert.CAFingerprint == ca.Fingerprint {
			candidate.Principals = cert.Principals
		}
		list = append(list, candidate)
	}
	return list, nil
}

func (a *app) showCheck(r result) error {
	text := fmt.Sprintf("%s: %s, account %s\n", wire.Show(r.Host), r.Software, wire.Show(r.Account))
	switch *r.Config {
	case "":
		text += "sshd's configuration was not seen, and its defaults are assumed\n"
	case "account":
		text += "sshd's configuration as far as the account may read it\n"
	}
	if r.Error != "" {
		text += r.Error + "\n"
	}
	hint := ""
	for _, v := range r.Verdicts {
		word := "works"
		if !v.Works {
			word = "missing"
		}
		text += fmt.Sprintf("%-8s %s %s\n", word, v.Kind, v.Name)
		if v.Works {
			continue
		}
		if text += "         "; v.In != "" {
			text += wire.Show(v.In) + ": "
		}
		text += v.Missing + "\n"
		switch {
		case v.Trust && v.Kind == "certificate":
			hint = "vmux server trust --ca " + command.ShellWord(r.Host)
		case v.Trust && hint == "":
			hint = "vmux server trust --key " + command.ShellWord(v.Name) + " " + command.ShellWord(r.Host)
		}
	}
	err := a.Text(text)
	if hint != "" {
		a.Hint("%s", hint)
	}
	return err
}
