package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/phone"
	"vmux/internal/signer"
	"vmux/internal/wire"
)

// policyAnswer is an identity's policy in JSON.
type policyAnswer struct {
	Label       string       `json:"label"`
	Fingerprint string       `json:"fingerprint"`
	Rules       signer.Rules `json:"rules"`
	// Refused is how many requests in the log were outside of what is allowed.
	Refused int `json:"refused"`
}

func newPhonePolicyCommand(a *app) *cobra.Command {
	var rules signer.Rules
	var clear bool
	cmd := a.withJSON(&cobra.Command{
		Use:   "policy IDENTITY",
		Short: "Show what an identity may be used for, or change what the flags name",
		Long: `Requests outside of an identity's policy are refused without asking, and are
counted. An empty list, as in --users "", allows all again.

Hosts are host keys (SHA256:…), or names by which this phone knows a host key
from logins that you have approved. An identity that is limited to hosts is given
no session certificate, which would be good for any server that trusts the CA.
For a host key a login has to name it in what is signed, as OpenSSH since 8.9 does;
--old-servers lets logins to older servers pass.`,
		Example: `  vmux phone policy work --hosts prod.example.com --users deploy
  vmux phone policy git --forbid logins,forwarded --namespaces git
  vmux phone policy work --hours "mon-fri 08:00-18:00"
  vmux phone policy work --hosts SHA256:… --old-servers
  vmux phone policy work --clear`,
		Args: args("IDENTITY"),
		RunE: func(cmd *cobra.Command, v []string) error {
			return withIdentity(v[0], func(s *signer.Signer, id signer.Identity) (err error) {
				if id.Rules, err = changeRules(cmd, s, id, rules, clear); err != nil {
					return withHint(err, "vmux phone policy --help")
				}
				return a.showPolicy(s, id)
			})
		},
	})
	f := cmd.Flags()
	f.StringSliceVar(&rules.Hosts, "hosts", nil, "`HOSTS` to log in to")
	f.BoolVar(&rules.OldServers, "old-servers", false, "let logins to a host key pass that do not name it: servers older than OpenSSH 8.9")
	f.StringSliceVar(&rules.Users, "users", nil, "`USERS` to log in as")
	f.StringSliceVar(&rules.Namespaces, "namespaces", nil, "`NAMES` of purposes to sign for: git, file")
	f.StringSliceVar(&rules.Forbid, "forbid", nil, "`USES` that are refused: "+strings.Join(signer.Uses, ", "))
	f.StringVar(&rules.Hours, "hours", "", "`TIME` in which it may be used, by this phone's clock")
	f.BoolVar(&clear, "clear", false, "allow everything again")
	return cmd
}

// changeRules takes over what the command line names, and leaves the rest.
func changeRules(cmd *cobra.Command, s *signer.Signer, id signer.Identity, wanted signer.Rules, clear bool) (signer.Rules, error) {
	set := cmd.Flags().Changed
	named := clear || set("hosts") || set("old-servers") || set("users") || set("namespaces") || set("forbid") || set("hours")
	if !named {
		return id.Rules, nil
	}
	return s.SetRules(id, func(r *signer.Rules) {
		if clear {
			*r = signer.Rules{}
		}
		for name, list := range map[string]struct{ to, from *[]string }{
			"hosts": {&r.Hosts, &wanted.Hosts}, "users": {&r.Users, &wanted.Users},
			"namespaces": {&r.Namespaces, &wanted.Namespaces}, "forbid": {&r.Forbid, &wanted.Forbid},
		} {
			if set(name) {
				*list.to = *list.from
			}
		}
		if set("hours") {
			r.Hours = wanted.Hours
		}
		if set("old-servers") || len(r.Hosts) == 0 {
			r.OldServers = wanted.OldServers
		}
	})
}

func (a *app) showPolicy(s *signer.Signer, id signer.Identity) error {
	records, err := s.Activity()
	if err != nil {
		return err
	}
	answer := policyAnswer{Label: id.Label, Fingerprint: id.Fingerprint(), Rules: id.Rules}
	for _, r := range records {
		answer.Refused += id.RefusedByRules(r)
	}
	return a.answer(answer, func() error {
		orAny := func(list []string) string {
			if len(list) == 0 {
				return "any"
			}
			return strings.Join(list, ",")
		}
		r := id.Rules
		hours := r.Hours
		if hours == "" {
			hours = "any"
		}
		forbid := strings.Join(r.Forbid, ",")
		if forbid == "" {
			forbid = "nothing"
		}
		hosts := orAny(r.Hosts)
		if r.OldServers {
			hosts += "  (old servers too)"
		}
		for _, line := range [][2]string{
			{"hosts", hosts}, {"users", orAny(r.Users)}, {"namespaces", orAny(r.Namespaces)},
			{"hours", hours}, {"forbidden", forbid},
		} {
			if err := a.line("%-11s %s", line[0]+":", wire.Show(line[1])); err != nil {
				return err
			}
		}
		a.say("requests refused by it: %d", answer.Refused)
		return nil
	})
}

func newPhoneGrantsCommand(a *app) *cobra.Command {
	cmd := a.withJSON(&cobra.Command{
		Use: "grants", Short: "List what is signed without asking, for a while", Args: args(),
		Long: `A grant lets one computer use one key for logins as one user to one verified
server, or for git signatures, without asking, for at most an hour. It is given
with an approval, once grants are switched on or a sheet offers one (the third like
request within a minute; not after "vmux phone grants off"), and ends by itself, with
"vmux phone grants end", and when vmux phone run ends.`,
		Example: "  vmux phone grants on\n  vmux phone grants\n  vmux phone grants end",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			return a.showGrants(p)
		},
	})
	cmd.AddCommand(newPhoneGrantsSwitch(a, "on", true), newPhoneGrantsSwitch(a, "off", false), newPhoneGrantsEndCommand(a))
	return cmd
}

func (a *app) showGrants(p *phone.Phone) error {
	on, err := p.Signer.GrantsEnabled()
	if err != nil {
		return err
	}
	list, err := p.Grants()
	if err != nil {
		return err
	}
	if !on {
		a.say("grants are off: each request is asked for")
	}
	if list == nil {
		list = []signer.Grant{}
	}
	return a.answer(list, func() error {
		for _, g := range list {
			left := time.Until(g.Until).Round(time.Second)
			if err := a.line("%s  %s  %s  key %s  for %s more", g.ID, wire.Show(g.DeviceName), wire.Show(g.What), wire.Show(g.Label), left); err != nil {
				return err
			}
		}
		return nil
	})
}

func newPhoneGrantsSwitch(a *app, word string, on bool) *cobra.Command {
	short := "Let approvals grant the like of them for a while"
	if !on {
		short = "Ask for each request, and end all grants"
	}
	return &cobra.Command{
		Use: word, Short: short, Args: args(), Example: "  vmux phone grants " + word,
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			return p.Signer.EnableGrants(on)
		},
	}
}

func newPhoneGrantsEndCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "end", Short: "End all grants now", Args: args(), Example: "  vmux phone grants end",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			return p.Signer.EndGrant("")
		},
	}
}

func newPhoneHostsCommand(a *app) *cobra.Command {
	cmd := a.withJSON(&cobra.Command{
		Use: "hosts", Short: "List the servers that this phone remembers", Args: args(),
		Long: `Lists the servers of approved logins: the fingerprint of the host key, which was
verified, and the names and users by which it was reached.`,
		Example: "  vmux phone hosts\n  vmux phone hosts forget SHA256:…",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			list, err := p.Signer.Hosts()
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.say("no servers yet: none of the approved logins said where to")
			}
			for _, h := range list {
				err := a.answer(h, func() error {
					return a.line("%s  %s  as %s  last %s", h.Fingerprint(), wire.Show(strings.Join(h.Names, ",")), wire.Show(strings.Join(h.Users, ",")), local(h.LastSeen))
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "forget FINGERPRINT", Short: "Forget a server: its next login is the first one", Args: args("FINGERPRINT"),
		Example: "  vmux phone hosts forget SHA256:…",
		RunE: func(_ *cobra.Command, v []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			return withHint(p.Signer.ForgetHost(v[0]), "vmux phone hosts")
		},
	})
	return cmd
}

// pauseAnswer is a pause in JSON.
type pauseAnswer struct {
	signer.Pause
	*signer.Report
}

func (a *app) showPause(s *signer.Signer, p signer.Pause) error {
	if p.Program != "" {
		return a.answer(pauseAnswer{Pause: p}, func() error { return a.pauseLine(p, p.Program) })
	}
	report, err := s.Report(p.DeviceID, p.Since)
	if err != nil {
		return err
	}
	return a.answer(pauseAnswer{p, &report}, func() error {
		err := a.pauseLine(p, "all programs")
		for _, asked := range report.Asked {
			a.say("asked for %s", asked)
		}
		a.hint("%s", phone.LogCommand(p))
		a.hint("vmux phone unpair %s", p.DeviceID.Short())
		return err
	})
}

func (a *app) pauseLine(p signer.Pause, who string) error {
	return a.line("%s  %s  for %s more", wire.Show(p.DeviceName), wire.Show(who), time.Until(p.Until).Round(time.Second))
}

func newPhonePausesCommand(a *app) *cobra.Command {
	cmd := a.withJSON(&cobra.Command{
		Use: "pauses", Short: "List the computers and programs that are not asked for now", Args: args(),
		Long: `After three denials within a minute a computer is paused for five; a program that
was muted, for an hour. Their requests are refused without asking.

Of a computer it also tells what it has asked for since the first of the denials.`,
		Example: "  vmux phone pauses\n  vmux phone pauses end laptop",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			list, err := p.Signer.Pauses()
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.say("nobody is paused or muted")
			}
			for _, pause := range list {
				if err := a.showPause(p.Signer, pause); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "end COMPUTER", Short: "Let a computer ask again", Args: args("COMPUTER"),
		Example: "  vmux phone pauses end laptop",
		RunE: func(_ *cobra.Command, v []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			peer, err := p.Trust.Find(v[0])
			if err != nil {
				return withHint(fmt.Errorf("computer %q: %w", wire.Show(v[0]), err), "vmux phone devices")
			}
			return p.Signer.EndPauses(peer.ID)
		},
	})
	return cmd
}
