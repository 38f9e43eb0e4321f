package phonecmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/nativephone"
	"vmux/internal/signer/identity"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// identityAnswer is one identity in JSON.
type identityAnswer struct {
	Label       string    `json:"label"`
	Algorithm   string    `json:"algorithm"`
	Fingerprint string    `json:"fingerprint"`
	PublicKey   string    `json:"publicKey"` // line for authorized_keys
	Enabled     bool      `json:"enabled"`
	Default     bool      `json:"default"`
	Provider    string    `json:"provider"`
	CreatedAt   time.Time `json:"createdAt"`
}

func answerOf(i identity.Identity) identityAnswer {
	return identityAnswer{i.Label, i.Algorithm, i.Fingerprint(), i.AuthorizedKey(), i.Enabled, i.Default, i.Provider, i.CreatedAt}
}

func newIdentityCommand(a *app) *cobra.Command {
	return a.Group("identity", "Make and manage the SSH keys on this phone",
		newIdentityCreateCommand(a),
		newIdentityListCommand(a),
		&cobra.Command{
			Use: "rename IDENTITY LABEL", Short: "Give an identity another label",
			Example: "  vmux phone identity rename work 'work laptop'",
			RunE: func(cmd *cobra.Command, v []string) error {
				_, err := renameIdentity(cmd.Context(), labelChange{v[0], v[1]})
				return err
			},
		},
		identityChange("enable", "Switch an identity on", enableIdentity),
		identityChange("disable", "Switch an identity off: it is not listed and signs nothing", disableIdentity),
		identityChange("default", "Let session certificates stand for this identity", defaultIdentity),
		newIdentityDeleteCommand(a),
		newIdentityExportCommand(a))
}

func identityChange(name, short string, change func(context.Context, string) (nothing, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " IDENTITY", Short: short,
		Long:    short + ".\n\nIDENTITY is a label, a fingerprint, or its first six characters or more.",
		Example: "  vmux phone identity " + name + " work",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := change(cmd.Context(), v[0])
			return err
		},
	}
}

// findIdentity is the identity that a person named.
func findIdentity(p *nativephone.Phone, name string) (identity.Identity, error) {
	i, err := p.Signer.Identities.Find(name)
	if err != nil {
		err = command.WithHint(fmt.Errorf("identity %q: %w", wire.Show(name), err), "vmux phone identity list")
	}
	return i, err
}

// onIdentity is an operation on the identity that a person named.
func onIdentity(name string, do func(*identity.List, identity.Identity) error) func(context.Context, string) (nothing, error) {
	return Operation(name, func(_ context.Context, p *nativephone.Phone, name string) (nothing, error) {
		i, err := findIdentity(p, name)
		if err == nil {
			err = do(p.Signer.Identities, i)
		}
		return nothing{}, err
	})
}

var (
	enableIdentity  = onIdentity("identity enable", func(l *identity.List, i identity.Identity) error { return l.SetEnabled(i, true) })
	disableIdentity = onIdentity("identity disable", func(l *identity.List, i identity.Identity) error { return l.SetEnabled(i, false) })
	defaultIdentity = onIdentity("identity default", (*identity.List).SetDefault)
	deleteIdentity  = onIdentity("identity delete", (*identity.List).Delete)
)

var namedIdentity = Operation("identity", func(_ context.Context, p *nativephone.Phone, name string) (identity.Identity, error) {
	return findIdentity(p, name)
})

var identities = Operation("identity list", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]identity.Identity, error) {
	return p.Signer.Identities.All()
})

// encryptedKey is an identity's private key as it rests.
var encryptedKey = Operation("identity export", func(_ context.Context, p *nativephone.Phone, name string) ([]byte, error) {
	i, err := findIdentity(p, name)
	if err != nil {
		return nil, err
	}
	return p.Signer.Identities.Export(i)
})

type labelChange struct{ Identity, Label string }

var renameIdentity = Operation("identity rename", func(_ context.Context, p *nativephone.Phone, in labelChange) (nothing, error) {
	i, err := findIdentity(p, in.Identity)
	if err != nil {
		return nothing{}, err
	}
	return nothing{}, command.WithHint(p.Signer.Identities.Rename(i, in.Label), "choose another label; vmux phone identity list shows those there are")
})

func newIdentityDeleteCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete IDENTITY", Short: "Destroy an identity and its private key, for good",
		Long: `Destroys an identity and its private key, which nothing brings back, and with
them the ways into servers that know no other key. Asks first, unless told --yes.
A key of another agent (--upstream) stays there, and is only forgotten here.

IDENTITY is a label, a fingerprint, or its first six characters or more.`,
		Example: "  vmux phone identity delete old\n  vmux phone identity delete old --yes",
		RunE: func(cmd *cobra.Command, v []string) error {
			i, err := namedIdentity(cmd.Context(), v[0])
			if err != nil {
				return err
			}
			about := fmt.Sprintf("%s %s", wire.Show(i.Label), i.Fingerprint())
			switch {
			case yes:
			case !a.Interactive():
				return command.Usage("the key cannot be brought back, and there is no terminal to ask on", "vmux phone identity delete "+command.ShellWord(i.Label)+" --yes")
			case !a.Confirmed(cmd.Context(), "Destroy the key "+about+" for good?"):
				return command.WithHint(errors.New("not deleted"), "vmux phone identity disable %s switches it off, and can be undone", command.ShellWord(i.Label))
			}
			if _, err := deleteIdentity(cmd.Context(), i.Fingerprint()); err != nil {
				return err
			}
			a.Say("destroyed: %s", about)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

func newIdentityListCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use: "list", Short: "List the identities on this phone",
		Example: "  vmux phone identity list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := identities(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			answers := []identityAnswer{}
			for _, i := range list {
				answers = append(answers, answerOf(i))
			}
			return a.Answer(answers, func() error { return a.showIdentities(answers) })
		},
	})
}

func (a *app) showIdentities(list []identityAnswer) error {
	if len(list) == 0 {
		a.Say("no identities yet")
		a.Hint("vmux phone identity create --label LABEL")
	}
	for _, i := range list {
		marks := ""
		if i.Default {
			marks += "  default"
		}
		if !i.Enabled {
			marks += "  disabled"
		}
		if err := a.Line("%s  %s  %s%s", wire.Show(i.Label), i.Fingerprint, i.Algorithm, marks); err != nil {
			return err
		}
	}
	return nil
}

func newIdentityExportCommand(a *app) *cobra.Command {
	var out string
	var public bool
	cmd := &cobra.Command{
		Use:   "export IDENTITY",
		Short: "Print an identity's public line, or write its encrypted private key file",
		Long: `Prints the identity's line for authorized_keys. With --out, writes its private
key to a new file instead, as ssh-keygen does: encrypted under its passphrase.`,
		Example: `  vmux phone identity export work
  vmux phone identity export work --out work.key`,
		RunE: func(cmd *cobra.Command, v []string) error {
			if public && out != "" {
				return command.Usagef("--public prints, --out writes the private key: choose one")
			}
			if out == "" {
				i, err := namedIdentity(cmd.Context(), v[0])
				if err != nil {
					return err
				}
				return a.Line("%s", i.AuthorizedKey())
			}
			const wanted = "--out FILE that is not there yet, in a folder that is"
			if _, err := os.Lstat(out); err == nil { // before the log says that it was given out
				return command.Usage(wire.Show(out)+" is there already", wanted)
			}
			key, err := encryptedKey(cmd.Context(), v[0])
			if err != nil {
				return err
			}
			if err := state.WriteNew(out, key); err != nil {
				return command.WrongFile(fmt.Errorf("export: %w", err), wanted)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&public, "public", false, "print the public line, as without any flag")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the encrypted private key to")
	return cmd
}
