// Package servercmd is `vmux server`: what servers are told of the phone's keys and CA,
// and what they accept. What is done there is serveraccess's.
package servercmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/serveraccess"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

type app struct{ *command.IO }

// New makes `vmux server`.
func New(io *command.IO) *cobra.Command {
	a := &app{io}
	return io.Group("server", "Tell servers of the phone's keys and CA, and see what they accept",
		a.newTrust(), a.newCheck(), a.newUntrust())
}

// choice is what the flags of a command name.
type choice struct {
	key   string
	ca    bool
	phone string
	all   bool
	force bool
}

func (c *choice) flags(cmd *cobra.Command, what string) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&c.key, "key", "", "comment or fingerprint of the phone-held `KEY`, or a file with its public half")
	f.BoolVar(&c.ca, "ca", false, what+" the phone's CA, for all accounts of the server; root's rights are needed")
	f.StringVar(&c.phone, "phone", "", "the `DEVICE` whose CA it is, where several have one: name, or beginning of its ID")
	return c.hosts(cmd)
}

func (c *choice) hosts(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.all, "all", false, "all hosts that ~/.ssh/config names, one after the other")
	return cmd
}

// targets are the hosts that a command is for.
func (c *choice) targets(args []string) ([]string, error) {
	switch {
	case c.all && len(args) > 0:
		return nil, command.Usagef("either a host or --all")
	case !c.all && strings.Join(args, "") == "": // a variable that is not set, too
		return nil, command.Usagef("which server? [USER@]HOST, as ssh takes it, or --all")
	case !c.all && strings.HasPrefix(args[0], "-"):
		return nil, command.Usagef("a host is [USER@]HOST, not %s", wire.Show(args[0]))
	case !c.all:
		return args, nil
	}
	hosts := Hosts(context.Background())
	if len(hosts) == 0 {
		return nil, command.WithHint(errors.New("~/.ssh/config names no host"), "name the server")
	}
	return hosts, nil
}

// Hosts are those that the user's ssh configuration names.
func Hosts(context.Context) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	return sshconfig.Hosts(home)
}

// subject is what a server is told of.
type subject struct {
	name string
	line string // as it is put in
	ca   bool
	// identity is what the new login is made with.
	identity serveraccess.Identity
}

// subject finds what the flags name. With gone, it may be a key that no phone has now.
func (c *choice) subject(ctx context.Context, gone bool) (subject, error) {
	if c.ca && c.key != "" {
		return subject{}, command.Usagef("either --key or --ca")
	}
	if b, err := os.ReadFile(c.key); c.key != "" && err == nil && gone {
		key, comment, _, _, err := ssh.ParseAuthorizedKey(b)
		if err != nil {
			return subject{}, command.Usagef("%s is no public key", wire.Show(c.key))
		}
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)) + " " + wire.Show(comment))
		return subject{name: wire.Show(comment), line: serveraccess.KeyLine(strings.ReplaceAll(line, "\n", ""))}, nil
	}
	status, err := command.Client().Status(ctx)
	if err != nil {
		return subject{}, err
	}
	if c.ca {
		return c.authority(ctx, status, gone)
	}
	var found []control.Identity
	var names []string
	for _, id := range status.Identities {
		if !id.Certificate && (c.key == "" || id.Comment == c.key || id.Fingerprint == c.key) {
			found, names = append(found, id), append(names, wire.Show(id.Comment))
		}
	}
	switch {
	case len(found) == 0 && c.key != "":
		return subject{}, command.WithHint(fmt.Errorf("there is no phone-held key %s", wire.Show(c.key)), "vmux status")
	case len(found) == 0:
		return subject{}, command.WithHint(errors.New("there is no phone-held key"), "vmux status")
	case len(found) > 1:
		return subject{}, command.Usage("which key? "+strings.Join(names, ", "), "--key "+command.ShellWord(found[0].Fingerprint))
	}
	id := found[0]
	return subject{
		name: wire.Show(id.Comment), line: serveraccess.KeyLine(id.PublicKey) + " " + wire.Show(id.Comment),
		identity: serveraccess.Identity{Line: id.PublicKey, Fingerprint: id.Fingerprint, Agent: status.Socket},
	}, nil
}

func (c *choice) authority(ctx context.Context, status control.Status, gone bool) (subject, error) {
	all, err := command.Client().CA(ctx)
	if err != nil {
		return subject{}, err
	}
	all = slices.DeleteFunc(all, func(ca control.CA) bool {
		return !ca.Confirmed || c.phone != "" && !command.NamesDevice(c.phone, ca.Phone, ca.DeviceID)
	})
	switch all = control.DistinctCAs(all); {
	case len(all) == 0:
		return subject{}, command.WithHint(errors.New("no paired phone has a CA that is accepted"), "vmux ca")
	case len(all) > 1:
		var phones []string
		for _, ca := range all {
			phones = append(phones, wire.Show(ca.Phone))
		}
		return subject{}, command.Usage("several phones have a CA: "+strings.Join(phones, ", "), "--phone "+all[0].DeviceID)
	}
	ca, cert := all[0], status.Certificate
	if !gone && (cert.State != control.CertificateValid || cert.CAFingerprint != ca.Fingerprint) {
		return subject{}, command.WithHint(errors.New("a new login is made with a session certificate, and there is none of this CA"), "vmux cert request")
	}
	return subject{
		name: "the CA of " + wire.Show(ca.Phone), line: ca.Line + " " + wire.Show(ca.Phone), ca: true,
		identity: serveraccess.Identity{Line: cert.Line, Fingerprint: cert.Fingerprint, Agent: status.Socket},
	}, nil
}

// result is what came of one host, for --json.
type result struct {
	Host     string `json:"host"`
	Account  string `json:"account,omitempty"`
	Software string `json:"software,omitempty"`
	// Done is "put", "already", "taken", "absent", "changed" or "failed"; of check, it is
	// "checked".
	Done string `json:"done"`
	Line string `json:"line,omitempty"`
	serveraccess.Placed
	// Kept is a line of sshd's configuration that stays, since somebody has changed it.
	Kept string `json:"kept,omitempty"`
	// Still is a file in which a key that was taken out stands in another line.
	Still string `json:"still,omitempty"`
	// Config is who read sshd's configuration: "root", "account", or "" if nobody could.
	Config   *string                `json:"config,omitempty"`
	Verdicts []serveraccess.Verdict `json:"identities,omitempty"`
	Error    string                 `json:"error,omitempty"`
	Hint     string                 `json:"hint,omitempty"`
}

// each does something for every host, and answers: with --all, what fails for one does
// not keep the others from their turn.
func (a *app) each(ctx context.Context, c *choice, args []string, do func(context.Context, *serveraccess.Connection, *result) error, show func(result) error) error {
	hosts, err := c.targets(args)
	if err != nil {
		return err
	}
	results := []result{}
	failed := false
	for _, host := range hosts {
		r, err := a.one(ctx, host, do)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = true
			r.Error, r.Hint = command.Sentence(err), command.HintOf(err)
		}
		if results = append(results, r); a.JSON {
			continue
		}
		if r.Done != "failed" {
			if err := show(r); err != nil {
				return err
			}
		}
		if err != nil && c.all {
			if err := a.Line("%s: %s", wire.Show(host), r.Error); err != nil {
				return err
			}
			if r.Hint != "" {
				a.Hint("%s", r.Hint)
			}
		} else if err != nil {
			return err
		}
	}
	if a.JSON && c.all {
		err = a.Value(results)
	} else if a.JSON {
		err = a.Value(results[0])
	}
	if err == nil && failed {
		return command.Exit(wire.ExitFailed)
	}
	return err
}

func (a *app) one(ctx context.Context, host string, do func(context.Context, *serveraccess.Connection, *result) error) (result, error) {
	r := result{Host: host, Done: "failed"}
	o := serveraccess.Options{Host: host}
	in, inOK := command.Terminal(a.In)
	out, outOK := command.Terminal(a.Err)
	if inOK && outOK {
		o.In, o.Out = in, out
	}
	conn, err := serveraccess.Open(ctx, o)
	if conn == nil {
		return r, err
	}
	defer conn.Close()
	r.Software, r.Account = conn.Software, conn.Account
	if err != nil {
		return r, command.OrHint(fmt.Errorf("log in to %s: %w", wire.Show(host), err), "ssh %s", command.ShellWord(host))
	}
	return r, do(ctx, conn, &r)
}
