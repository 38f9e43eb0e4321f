package servercmd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/serveraccess"
	"vmux/internal/state"
	"vmux/internal/wire"
)

func (a *app) newTrust() *cobra.Command {
	var c choice
	return c.flags(a.WithJSON(&cobra.Command{
		Use:   "trust [USER@HOST]",
		Short: "Tell a server of a phone-held key, or of the phone's CA",
		Long: `Logs in as ssh does, by whatever lets you in now, and puts the key into the account's
authorized_keys; with a passkey, so that the server itself wants Face ID or its like
(verify-required). With --ca the phone's CA goes into the server's TrustedUserCAKeys,
which is named in sshd's configuration if none is: sudo is asked for its password at this
terminal if it wants one, sshd -t has to find nothing, and sshd is reloaded.

Then a new login is made with that key, for which the phone asks you, or with the session
certificate. If it does not work, or this program or the connection ends before it did,
the server takes everything back by itself.`,
		Example: "  vmux server trust deploy@server.example.com\n  vmux server trust --key work --all\n  vmux server trust --ca admin@server.example.com",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.subject(cmd.Context(), false)
			if err != nil {
				return err
			}
			if strings.HasPrefix(s.line, "verify-required ") {
				if err := passkeysWork(cmd.Context()); err != nil {
					return err
				}
			}
			return a.each(cmd.Context(), &c, args, func(ctx context.Context, conn *serveraccess.Connection, r *result) error {
				return a.trust(ctx, conn, s, r)
			}, func(r result) error {
				text := fmt.Sprintf("%s: %s: %s is in %s", wire.Show(r.Host), wire.Show(r.Account), s.name, wire.Show(r.File))
				if r.Done == "already" {
					text += " already"
				}
				if r.Directive != "" {
					text += ", which " + wire.Show(r.Directive) + " names"
				}
				return a.Line("%s; a new login with it worked", text)
			})
		},
	}), "tell of")
}

// passkeysWork reports why ssh cannot log in with a passkey.
func passkeysWork(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return fmt.Errorf("run ssh: %w", err)
	}
	if !(serveraccess.Facts{Software: string(out)}).AtLeast(10, 3) {
		return command.WithHint(errors.New("this computer's ssh takes no passkeys: a new login with one would fail"), "install OpenSSH 10.3 or newer")
	}
	return nil
}

func (a *app) trust(ctx context.Context, conn *serveraccess.Connection, s subject, r *result) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	act := serveraccess.PutKey
	if s.ca {
		act = serveraccess.PutCA
	}
	done, err := conn.Apply(ctx, serveraccess.Change{Act: act, Line: s.line}, func(ctx context.Context, _ serveraccess.Result) error {
		if !s.ca {
			a.Say("a new login to %s: the phone asks you", wire.Show(r.Host))
		}
		err := conn.LogIn(ctx, s.identity)
		if err == nil {
			return nil
		}
		return fmt.Errorf("a new login with %s did not work, so that nothing stays on %s: %w", s.name, wire.Show(r.Host), a.because(conn, s, err))
	}, func(done serveraccess.Result) error {
		if done.Already && done.Directive == "" {
			return nil
		}
		record, err := serveraccess.OpenRecord(home)
		if err != nil {
			return err
		}
		return record.Put(conn.Facts, s.line, done.Placed)
	})
	r.Line, r.Placed = s.line, done.Placed
	if err != nil {
		return err
	}
	r.Done = "put"
	if done.Already {
		r.Done = "already"
	}
	return nil
}

// because adds what the server showed that explains why a login did not work.
func (a *app) because(conn *serveraccess.Connection, s subject, err error) error {
	if wire.HintOf(err) != "" {
		return err
	}
	if !s.ca && len(conn.Loose) > 0 && conn.Facts.Config["strictmodes"] != "no" {
		return command.WithHint(fmt.Errorf("others may write to %s there, and so sshd reads no keys from it", wire.Show(conn.Loose[0])),
			"on %s: chmod go-w %s", wire.Show(conn.Host), command.ShellWord(wire.Show(conn.Loose[0])))
	}
	return command.WithHint(err, "vmux server check %s", command.ShellWord(conn.Host))
}

func (a *app) newUntrust() *cobra.Command {
	var c choice
	cmd := c.flags(a.WithJSON(&cobra.Command{
		Use:   "untrust [USER@HOST]",
		Short: "Take out of a server what trust put in",
		Long: `Takes the key's line out of the account's authorized_keys, or with --ca the CA's out of
the server's TrustedUserCAKeys, with what else was put there for it: the files are then
as they were before. A line that somebody has changed since stays, and that is said.

It is put back if no new login works afterwards, unless with --force. A key that no phone
has any more is named by a file with its public half.`,
		Example: "  vmux server untrust deploy@server.example.com\n  vmux server untrust --key lost-phone.pub --all\n  vmux server untrust --ca admin@server.example.com",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.subject(cmd.Context(), true)
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), &c, args, func(ctx context.Context, conn *serveraccess.Connection, r *result) error {
				return a.untrust(ctx, conn, s, c.force, r)
			}, func(r result) error { return a.showUntrusted(s, r) })
		},
	}), "take out")
	cmd.Flags().BoolVar(&c.force, "force", false, "even if no new login works without it")
	return cmd
}

func (a *app) untrust(ctx context.Context, conn *serveraccess.Connection, s subject, force bool, r *result) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	record, err := serveraccess.OpenRecord(home)
	if err != nil {
		return err
	}
	change := serveraccess.Change{Act: serveraccess.TakeKey}
	if s.ca {
		change.Act = serveraccess.TakeCA
	}
	change.Line, change.Put = record.Of(conn.Facts, s.line)
	done, err := conn.Apply(ctx, change, func(ctx context.Context, done serveraccess.Result) error {
		if force || done.Absent || done.Changed {
			return nil
		}
		if err := conn.LogIn(ctx, serveraccess.Identity{}); err != nil {
			return command.WithHint(fmt.Errorf("no new login to %s works without it, so that it was put back: %w", wire.Show(conn.Host), err),
				"with --force it is taken out all the same")
		}
		return nil
	}, func(serveraccess.Result) error { return nil })
	r.Line, r.File, r.Kept, r.Still = change.Line, done.File, done.Kept, done.Still
	if err != nil {
		return err
	}
	switch {
	case done.Changed:
		r.Done = "changed"
		return nil // it stays in the record, too
	case done.Absent:
		r.Done = "absent"
	default:
		r.Done = "taken"
	}
	return record.Taken(conn.Facts, change.Line)
}

func (a *app) showUntrusted(s subject, r result) error {
	where := wire.Show(r.Host) + ": " + wire.Show(r.Account) + ": "
	switch {
	case r.Done == "absent" && r.File == "":
		return a.Line("%s%s is in no file there", where, s.name)
	case r.Done == "absent":
		return a.Line("%s%s is not in %s", where, s.name, wire.Show(r.File))
	case r.Done == "changed":
		return a.Line("%s%s stays in %s: its line was changed since", where, s.name, wire.Show(r.File))
	}
	if r.Kept != "" {
		a.Say("%s stays in sshd's configuration: it is not what trust put there", wire.Show(r.Kept))
	}
	if r.Still != "" {
		a.Say("the key still logs in there: %s has it in another line, which trust did not put in", wire.Show(r.Still))
	}
	return a.Line("%s%s was taken out of %s", where, s.name, wire.Show(r.File))
}
