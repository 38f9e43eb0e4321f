package phonecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
)

// caAnswer is the CA in JSON.
type caAnswer struct {
	PublicKey   string         `json:"publicKey"`
	Fingerprint string         `json:"fingerprint"`
	CreatedAt   time.Time      `json:"createdAt"`
	Policy      policy.Issuing `json:"policy"`
}

func newCACreateCommand(a *app) *cobra.Command {
	var passphraseFile string
	var principals []string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "create",
		Short: "Make this phone's CA",
		Long: `Makes the key that signs session certificates, P-256, in a file that is encrypted
under a passphrase, and prints its line for TrustedUserCAKeys.`,
		Example: `  vmux phone ca create --principals root,deploy`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := policy.CheckPrincipals(principals); err != nil {
				return command.Usagef("--principals: %v", err)
			}
			if _, err := checkNewCA(cmd.Context(), nothing{}); err != nil {
				return err
			}
			secret, err := a.Passphrase(cmd.Context(), passphraseFile, "New passphrase for the CA", true)
			if err != nil {
				return err
			}
			defer clear(secret)
			ca, err := createCA(cmd.Context(), newCA{principals, secret})
			if err != nil {
				return command.OrHint(err, "vmux phone ca create --help")
			}
			if len(principals) == 0 {
				a.Say("it issues nothing until it knows as whom one may log in")
				a.Hint("vmux phone ca policy --principals NAMES")
			}
			if err := a.showCA(ca); err != nil {
				return err
			}
			a.Say("on each computer that is paired already, compare the fingerprint and accept it: vmux ca accept")
			return nil
		},
	})
	cmd.Flags().StringSliceVar(&principals, "principals", nil, "`NAMES` as whom certificates log in")
	passphraseFlag(cmd, &passphraseFile)
	return cmd
}

var presentCA = Operation("ca show", func(_ context.Context, p *nativephone.Phone, _ nothing) (authority.CA, error) {
	ca, err := p.Signer.CA.Get()
	return ca, noCA(err)
})

// checkNewCA finds out whether one can be made, before anybody is asked for a
// passphrase.
var checkNewCA = Operation("ca create (check)", func(_ context.Context, p *nativephone.Phone, _ nothing) (nothing, error) {
	if _, err := p.Signer.CA.Get(); err == nil {
		return nothing{}, command.WithHint(errors.New("this phone has a CA already"), "vmux phone ca show")
	}
	return nothing{}, nil
})

type newCA struct {
	Principals []string
	Passphrase []byte
}

var createCA = Operation("ca create", func(_ context.Context, p *nativephone.Phone, in newCA) (authority.CA, error) {
	defer clear(in.Passphrase)
	return p.Signer.CA.Create(in.Principals, in.Passphrase)
})

var deleteCA = Operation("ca delete", func(_ context.Context, p *nativephone.Phone, _ nothing) (nothing, error) {
	return nothing{}, p.Signer.CA.Delete()
})

// policyChange is what changes of a CA's policy; nil stays as it is.
type policyChange struct {
	Principals, Extensions, SourceAddress *[]string
	MaxValiditySeconds                    *int64
	AutomaticIssuance                     *bool
	ForceCommand                          *string
}

var changePolicy = Operation("ca policy", func(_ context.Context, p *nativephone.Phone, in policyChange) (policy.Issuing, error) {
	policy, err := p.Signer.CA.SetPolicy(func(p *policy.Issuing) {
		change(&p.Principals, in.Principals)
		change(&p.Extensions, in.Extensions)
		change(&p.SourceAddress, in.SourceAddress)
		change(&p.MaxValiditySeconds, in.MaxValiditySeconds)
		change(&p.AutomaticIssuance, in.AutomaticIssuance)
		change(&p.ForceCommand, in.ForceCommand)
	})
	return policy, noCA(err)
})

func (a *app) showCA(ca authority.CA) error {
	answer := caAnswer{ca.AuthorizedKey(), sshctx.Fingerprint(ca.PublicKey), ca.CreatedAt, ca.Policy}
	return a.Answer(answer, func() error {
		a.Say("fingerprint: %s", answer.Fingerprint) // what `vmux ca accept` wants compared
		return a.Line("%s", answer.PublicKey)
	})
}

func newCAShowCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use: "show", Short: "Print the CA's public key line; its fingerprint and policy go to standard error",
		Example: "  vmux phone ca show",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := presentCA(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if !a.JSON {
				if err := a.showCAPolicy(ca.Policy, false); err != nil {
					return err
				}
			}
			return a.showCA(ca)
		},
	})
}

func noCA(err error) error {
	if errors.Is(err, authority.ErrNoCA) {
		return command.WithHint(err, "vmux phone ca create --principals NAMES")
	}
	return err
}

// showCAPolicy prints the policy if it is what was asked for, and else says it
// beside the answer.
func (a *app) showCAPolicy(p policy.Issuing, asked bool) error {
	or := func(list []string, none string) string { return cmp.Or(strings.Join(list, ","), none) }
	lines := []string{
		"principals: " + or(p.Principals, "none"),
		fmt.Sprintf("longest validity: %s", time.Duration(p.MaxValiditySeconds)*time.Second),
		fmt.Sprintf("automatic issuance: %t", p.AutomaticIssuance),
		"extensions: " + or(p.Extensions, "none"),
		"source addresses: " + or(p.SourceAddress, "any"),
	}
	if p.ForceCommand != "" {
		lines = append(lines, fmt.Sprintf("forced command: %q", p.ForceCommand))
	}
	if asked {
		return a.Line("%s", strings.Join(lines, "\n"))
	}
	a.Say("%s", strings.Join(lines, "\n"))
	return nil
}

func newCADeleteCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Destroy this phone's CA, to make another one",
		Long: `Destroys the CA's private key. Certificates that it has issued stay valid until
they expire. Servers have to be told of the next CA, and computers refuse its
certificates until "vmux ca accept".`,
		Example: `  vmux phone ca delete --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := presentCA(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			if !yes {
				return command.Usage("the CA's key cannot be brought back", "vmux phone ca delete --yes")
			}
			if _, err := deleteCA(cmd.Context(), nothing{}); err != nil {
				return err
			}
			a.Say("destroyed: %s", sshctx.Fingerprint(ca.PublicKey))
			a.Hint("vmux phone ca create --principals NAMES")
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func newCAPolicyCommand(a *app) *cobra.Command {
	var principals, extensions, sources []string
	var longest time.Duration
	var auto bool
	var forced string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "policy",
		Short: "Show the CA's policy, or change what the flags name",
		Example: `  vmux phone ca policy --principals root,deploy --max-validity 8h --auto-issue=true
  vmux phone ca policy --source-address 192.0.2.0/24`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			policy, err := changePolicy(cmd.Context(), policyChange{
				Principals: given(cmd, "principals", principals), Extensions: given(cmd, "extensions", extensions),
				SourceAddress: given(cmd, "source-address", sources), ForceCommand: given(cmd, "force-command", forced),
				MaxValiditySeconds: given(cmd, "max-validity", int64(longest/time.Second)), AutomaticIssuance: given(cmd, "auto-issue", auto),
			})
			if err != nil {
				return command.OrHint(err, "vmux phone ca policy --help")
			}
			return a.Answer(policy, func() error { return a.showCAPolicy(policy, cmd.Flags().NFlag() == 0) })
		},
	})
	f := cmd.Flags()
	f.StringSliceVar(&principals, "principals", nil, "`NAMES` as whom certificates log in")
	f.StringSliceVar(&extensions, "extensions", nil, "`NAMES` of certificate extensions")
	f.StringSliceVar(&sources, "source-address", nil, "`ADDRESSES` (CIDR) from which certificates work")
	f.DurationVar(&longest, "max-validity", policy.DefaultValidity, "longest validity")
	f.BoolVar(&auto, "auto-issue", false, "let computers ask when nobody pressed a button")
	f.StringVar(&forced, "force-command", "", "the only `COMMAND` that certificates run")
	return cmd
}
