package phonecmd

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
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
	cmd := a.WithJSON(&cobra.Command{
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
		Args: command.Args("IDENTITY"),
		RunE: func(cmd *cobra.Command, v []string) error {
			answer, err := identityPolicy(cmd.Context(), rulesChange{
				Identity: v[0], Clear: clear, Hosts: given(cmd, "hosts", rules.Hosts), Users: given(cmd, "users", rules.Users),
				Namespaces: given(cmd, "namespaces", rules.Namespaces), Forbid: given(cmd, "forbid", rules.Forbid),
				Hours: given(cmd, "hours", rules.Hours), OldServers: given(cmd, "old-servers", rules.OldServers),
			})
			if err != nil {
				return err
			}
			return a.showPolicy(answer)
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

// rulesChange is what changes of an identity's rules; nil stays as it is.
type rulesChange struct {
	Identity                         string
	Clear                            bool
	Hosts, Users, Namespaces, Forbid *[]string
	Hours                            *string
	OldServers                       *bool
}

var identityPolicy = operation("policy", func(_ context.Context, p *nativephone.Phone, in rulesChange) (policyAnswer, error) {
	id, err := findIdentity(p, in.Identity)
	if err != nil {
		return policyAnswer{}, err
	}
	if in != (rulesChange{Identity: in.Identity}) {
		id.Rules, err = p.Signer.SetRules(id, func(r *signer.Rules) {
			if in.Clear {
				*r = signer.Rules{}
			}
			change(&r.Hosts, in.Hosts)
			change(&r.Users, in.Users)
			change(&r.Namespaces, in.Namespaces)
			change(&r.Forbid, in.Forbid)
			change(&r.Hours, in.Hours)
			if len(r.Hosts) == 0 {
				r.OldServers = false
			}
			change(&r.OldServers, in.OldServers)
		})
		if err != nil {
			return policyAnswer{}, command.WithHint(err, "vmux phone policy --help")
		}
	}
	records, err := p.Signer.Activity.Records()
	answer := policyAnswer{Label: id.Label, Fingerprint: id.Fingerprint(), Rules: id.Rules}
	for _, r := range records {
		answer.Refused += id.RefusedByRules(r)
	}
	return answer, err
})

func (a *app) showPolicy(answer policyAnswer) error {
	return a.Answer(answer, func() error {
		orAny := func(list []string) string {
			if len(list) == 0 {
				return "any"
			}
			return strings.Join(list, ",")
		}
		r := answer.Rules
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
			if err := a.Line("%-11s %s", line[0]+":", wire.Show(line[1])); err != nil {
				return err
			}
		}
		a.Say("requests refused by it: %d", answer.Refused)
		return nil
	})
}

func newPhoneGrantsCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "grants", Short: "List what is signed without asking, for a while", Args: command.Args(),
		Long: `A grant lets one computer use one key for logins as one user to one verified
server, or for git signatures, without asking, for at most an hour. It is given
with an approval, once grants are switched on or a sheet offers one (the third like
request within a minute; not after "vmux phone grants off"), and ends by itself, with
"vmux phone grants end", and when vmux phone run ends.`,
		Example: "  vmux phone grants on\n  vmux phone grants\n  vmux phone grants end",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.showGrants(cmd.Context()) },
	})
	cmd.AddCommand(newPhoneGrantsSwitch(a, "on", true), newPhoneGrantsSwitch(a, "off", false), newPhoneGrantsEndCommand(a))
	return cmd
}

type grantsAnswer struct {
	Enabled bool
	List    []signer.Grant
}

var grants = operation("grants", func(_ context.Context, p *nativephone.Phone, _ nothing) (grantsAnswer, error) {
	on, err := p.Signer.GrantsEnabled()
	return grantsAnswer{on, p.Signer.Grants()}, err
})

var enableGrants = operation("grants on", func(_ context.Context, p *nativephone.Phone, on bool) (nothing, error) {
	return nothing{}, p.Signer.EnableGrants(on)
})

var endGrants = operation("grants end", func(_ context.Context, p *nativephone.Phone, _ nothing) (nothing, error) {
	p.Signer.EndGrant("")
	return nothing{}, nil
})

func (a *app) showGrants(ctx context.Context) error {
	grants, err := grants(ctx, nothing{})
	if err != nil {
		return err
	}
	if !grants.Enabled {
		a.Say("grants are off: each request is asked for")
	}
	return a.Answer(grants.List, func() error {
		for _, g := range grants.List {
			left := time.Until(g.Until).Round(time.Second)
			if err := a.Line("%s  %s  %s  key %s  for %s more", g.ID, g.DeviceName, g.What, g.Label, left); err != nil {
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
		Use: word, Short: short, Args: command.Args(), Example: "  vmux phone grants " + word,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := enableGrants(cmd.Context(), on)
			return err
		},
	}
}

func newPhoneGrantsEndCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "end", Short: "End all grants now", Args: command.Args(), Example: "  vmux phone grants end",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := endGrants(cmd.Context(), nothing{})
			return err
		},
	}
}

var rememberedHosts = operation("hosts", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]signer.Host, error) {
	return p.Signer.Hosts()
})

var forgetHost = operation("hosts forget", func(_ context.Context, p *nativephone.Phone, fingerprint string) (nothing, error) {
	return nothing{}, command.WithHint(p.Signer.ForgetHost(fingerprint), "vmux phone hosts")
})

func newPhoneHostsCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "hosts", Short: "List the servers that this phone remembers", Args: command.Args(),
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
		Use: "forget FINGERPRINT", Short: "Forget a server: its next login is the first one", Args: command.Args("FINGERPRINT"),
		Example: "  vmux phone hosts forget SHA256:…",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := forgetHost(cmd.Context(), v[0])
			return err
		},
	})
	return cmd
}

// pauseAnswer is a pause in JSON.
type pauseAnswer struct {
	signer.Pause
	*activity.Report
}

var pauses = operation("pauses", func(_ context.Context, p *nativephone.Phone, _ nothing) (list []pauseAnswer, err error) {
	all, err := p.Signer.Pauses()
	for _, pause := range all {
		answer := pauseAnswer{Pause: pause}
		if err == nil && pause.Program == (wire.Text{}) {
			answer.Report = new(activity.Report)
			*answer.Report, err = p.Signer.Activity.Report(pause.DeviceID, pause.Since)
		}
		list = append(list, answer)
	}
	return list, err
})

var endPauses = operation("pauses end", func(_ context.Context, p *nativephone.Phone, computer string) (nothing, error) {
	peer, err := findComputer(p, computer)
	if err == nil {
		err = p.Signer.EndPauses(peer.ID)
	}
	return nothing{}, err
})

func (a *app) showPause(p pauseAnswer) error {
	return a.Answer(p, func() error {
		if p.Program != (wire.Text{}) {
			return a.pauseLine(p.Pause, p.Program)
		}
		err := a.pauseLine(p.Pause, wire.Say("all programs"))
		for _, asked := range p.Asked {
			a.Say("asked for %s", asked)
		}
		a.Hint("%s", nativephone.LogCommand(p.Pause))
		a.Hint("vmux phone unpair %s", p.DeviceID.Short())
		return err
	})
}

func (a *app) pauseLine(p signer.Pause, who wire.Text) error {
	return a.Line("%s  %s  for %s more", p.DeviceName, who, time.Until(p.Until).Round(time.Second))
}

func newPhonePausesCommand(a *app) *cobra.Command {
	cmd := a.WithJSON(&cobra.Command{
		Use: "pauses", Short: "List the computers and programs that are not asked for now", Args: command.Args(),
		Long: `After three denials within a minute a computer is paused for five; a program that
was muted, for an hour. Their requests are refused without asking.

Of a computer it also tells what it has asked for since the first of the denials.`,
		Example: "  vmux phone pauses\n  vmux phone pauses end laptop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := pauses(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if len(list) == 0 {
				a.Say("nobody is paused or muted")
			}
			for _, pause := range list {
				if err := a.showPause(pause); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "end COMPUTER", Short: "Let a computer ask again", Args: command.Args("COMPUTER"),
		Example: "  vmux phone pauses end laptop",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := endPauses(cmd.Context(), v[0])
			return err
		},
	})
	return cmd
}
