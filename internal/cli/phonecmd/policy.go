package phonecmd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// policyAnswer is an identity's policy in JSON.
type policyAnswer struct {
	Label       string       `json:"label"`
	Fingerprint string       `json:"fingerprint"`
	Rules       policy.Rules `json:"rules"`
	// Refused is how many requests in the log were outside of what is allowed.
	Refused int `json:"refused"`
	// Unknown are names among the hosts by which this phone remembers no server.
	Unknown []string `json:"unknown,omitempty"`
}

func newPolicyCommand(a *app) *cobra.Command {
	var rules policy.Rules
	var clear bool
	cmd := a.WithJSON(&cobra.Command{
		Use:   "policy IDENTITY",
		Short: "Show or change what an identity may be used for",
		Long: `Requests outside of an identity's policy are refused without asking, and are
counted. An empty list, as in --users "", allows all again.

Hosts are host keys (SHA256:…), or names by which this phone knows a host key
from logins that you have approved. An identity that is limited to hosts is given
no session certificate, which would be good for any server that trusts the CA.
For a host key a login has to name it in what is signed, as OpenSSH since 8.9 does;
--old-servers lets logins to older servers pass.

An identity with a limit signs no challenge of sudo (pam_ssh_agent_auth), which proves
nothing, but for the servers of --sudo: those that the agent is forwarded to.`,
		Example: `  vmux phone policy work --hosts prod.example.com --users deploy
  vmux phone policy git --forbid logins,forwarded --namespaces git
  vmux phone policy work --hours "mon-fri 08:00-18:00"
  vmux phone policy work --hosts SHA256:… --old-servers
  vmux phone policy work --sudo web-1.example.com
  vmux phone policy work --clear`,
		RunE: func(cmd *cobra.Command, v []string) error {
			answer, err := identityPolicy(cmd.Context(), rulesChange{
				Identity: v[0], Clear: clear, Hosts: given(cmd, "hosts", rules.Hosts), Users: given(cmd, "users", rules.Users),
				Namespaces: given(cmd, "namespaces", rules.Namespaces), Forbid: given(cmd, "forbid", rules.Forbid),
				Sudo: given(cmd, "sudo", rules.Sudo), Hours: given(cmd, "hours", rules.Hours), OldServers: given(cmd, "old-servers", rules.OldServers),
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
	f.StringSliceVar(&rules.Sudo, "sudo", nil, "`HOSTS` whose sudo may ask, by an agent that is forwarded there")
	f.StringSliceVar(&rules.Forbid, "forbid", nil, "`USES` that are refused: "+strings.Join(policy.Uses, ", "))
	f.StringVar(&rules.Hours, "hours", "", "`TIME` in which it may be used, by this phone's clock")
	f.BoolVar(&clear, "clear", false, "allow everything again")
	return cmd
}

// rulesChange is what changes of an identity's rules; nil stays as it is.
type rulesChange struct {
	Identity                               string
	Clear                                  bool
	Hosts, Users, Namespaces, Sudo, Forbid *[]string
	Hours                                  *string
	OldServers                             *bool
}

var identityPolicy = Operation("policy", func(_ context.Context, p *nativephone.Phone, in rulesChange) (policyAnswer, error) {
	id, err := findIdentity(p, in.Identity)
	if err != nil {
		return policyAnswer{}, err
	}
	if in != (rulesChange{Identity: in.Identity}) {
		id.Rules, err = p.Signer.Identities.SetRules(id, func(r *policy.Rules) {
			if in.Clear {
				*r = policy.Rules{}
			}
			change(&r.Hosts, in.Hosts)
			change(&r.Users, in.Users)
			change(&r.Namespaces, in.Namespaces)
			change(&r.Sudo, in.Sudo)
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
	known, hostsErr := p.Signer.Hosts.All()
	for _, name := range slices.Concat(id.Rules.Hosts, id.Rules.Sudo) {
		named := func(h hosts.Host) bool { return slices.Contains(h.Names, wire.Clean(name)) }
		if !strings.HasPrefix(name, "SHA256:") && !slices.ContainsFunc(known, named) && !slices.Contains(answer.Unknown, name) {
			answer.Unknown = append(answer.Unknown, name)
		}
	}
	return answer, errors.Join(err, hostsErr)
})

func (a *app) showPolicy(answer policyAnswer) error {
	return a.Answer(answer, func() error {
		orAny := func(list []string) string { return cmp.Or(strings.Join(list, ","), "any") }
		r := answer.Rules
		hosts := orAny(r.Hosts)
		if r.OldServers {
			hosts += "  (old servers too)"
		}
		sudo := orAny(r.Sudo)
		if len(r.Sudo) == 0 && r.RefusesUnproven() {
			sudo = "none"
		}
		for _, line := range [][2]string{
			{"hosts", hosts}, {"users", orAny(r.Users)}, {"namespaces", orAny(r.Namespaces)}, {"sudo on", sudo},
			{"hours", cmp.Or(r.Hours, "any")}, {"forbidden", cmp.Or(strings.Join(r.Forbid, ","), "nothing")},
		} {
			if err := a.Line("%-11s %s", line[0]+":", wire.Show(line[1])); err != nil {
				return err
			}
		}
		if len(answer.Unknown) > 0 {
			a.Say("this phone remembers no server as %s: a name is one of `vmux phone hosts`, or that of the computer's known_hosts", wire.Show(strings.Join(answer.Unknown, ", ")))
		}
		a.Say("requests refused by it: %d", answer.Refused)
		return nil
	})
}
