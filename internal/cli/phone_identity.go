package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"vmux/internal/keyfile"
	"vmux/internal/phone"
	"vmux/internal/signer"
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

func answerOf(i signer.Identity) identityAnswer {
	return identityAnswer{i.Label, i.Algorithm, i.Fingerprint(), i.AuthorizedKey(), i.Enabled, i.Default, i.Provider, i.CreatedAt}
}

func newPhoneIdentityCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "identity", Short: "Make and manage the SSH keys on this phone"}
	cmd.AddCommand(
		newIdentityCreateCommand(a),
		newIdentityListCommand(a),
		&cobra.Command{
			Use: "rename IDENTITY LABEL", Short: "Give an identity another label", Args: args("IDENTITY", "LABEL"),
			Example: "  vmux phone identity rename work 'work laptop'",
			RunE: func(_ *cobra.Command, v []string) error {
				return withIdentity(v[0], func(s *signer.Signer, i signer.Identity) error {
					return withHint(s.Rename(i, v[1]), "choose another label; vmux phone identity list shows those there are")
				})
			},
		},
		identityChange("enable", "Switch an identity on", func(s *signer.Signer, i signer.Identity) error { return s.SetEnabled(i, true) }),
		identityChange("disable", "Switch an identity off: it is not listed and signs nothing", func(s *signer.Signer, i signer.Identity) error { return s.SetEnabled(i, false) }),
		identityChange("default", "Let session certificates stand for this identity", (*signer.Signer).SetDefault),
		newIdentityDeleteCommand(a),
		newIdentityExportCommand(a),
	)
	return asGroup(a, cmd)
}

func identityChange(name, short string, change func(*signer.Signer, signer.Identity) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " IDENTITY", Short: short, Args: args("IDENTITY"),
		Long:    short + ".\n\nIDENTITY is a label, a fingerprint, or its first six characters or more.",
		Example: "  vmux phone identity " + name + " work",
		RunE:    func(_ *cobra.Command, v []string) error { return withIdentity(v[0], change) },
	}
}

// withIdentity finds the identity that a person named and acts on it.
func withIdentity(name string, act func(*signer.Signer, signer.Identity) error) error {
	p, err := openPhone()
	if err != nil {
		return err
	}
	i, err := p.Signer.Find(name)
	if err != nil {
		return withHint(fmt.Errorf("identity %q: %w", wire.Show(name), err), "vmux phone identity list")
	}
	return act(p.Signer, i)
}

func newIdentityDeleteCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete IDENTITY", Short: "Destroy an identity and its private key, for good", Args: args("IDENTITY"),
		Long: `Destroys an identity and its private key, which nothing brings back, and with
them the ways into servers that know no other key. Asks first, unless told --yes.
A key of another agent (--upstream) stays there, and is only forgotten here.

IDENTITY is a label, a fingerprint, or its first six characters or more.`,
		Example: "  vmux phone identity delete old\n  vmux phone identity delete old --yes",
		RunE: func(cmd *cobra.Command, v []string) error {
			return withIdentity(v[0], func(s *signer.Signer, i signer.Identity) error {
				about := fmt.Sprintf("%s %s", wire.Show(i.Label), i.Fingerprint())
				switch {
				case yes:
				case !a.interactive():
					return &usageError{"the key cannot be brought back, and there is no terminal to ask on", "vmux phone identity delete " + shellWord(i.Label) + " --yes"}
				case !a.confirmed(cmd.Context(), "Destroy the key "+about+" for good?"):
					return withHint(errors.New("not deleted"), "vmux phone identity disable %s switches it off, and can be undone", shellWord(i.Label))
				}
				if err := s.Delete(i); err != nil {
					return err
				}
				a.say("destroyed: %s", about)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

func newIdentityListCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "list", Short: "List the identities on this phone", Args: args(),
		Example: "  vmux phone identity list --json",
		RunE: func(*cobra.Command, []string) error {
			p, err := openPhone()
			if err != nil {
				return err
			}
			list, err := p.Signer.Identities()
			if err != nil {
				return err
			}
			answers := []identityAnswer{}
			for _, i := range list {
				answers = append(answers, answerOf(i))
			}
			return a.answer(answers, func() error { return a.showIdentities(answers) })
		},
	})
}

func (a *app) showIdentities(list []identityAnswer) error {
	if len(list) == 0 {
		a.say("no identities yet")
		a.hint("vmux phone identity create --label LABEL")
	}
	for _, i := range list {
		marks := ""
		if i.Default {
			marks += "  default"
		}
		if !i.Enabled {
			marks += "  disabled"
		}
		if err := a.line("%s  %s  %s%s", wire.Show(i.Label), i.Fingerprint, i.Algorithm, marks); err != nil {
			return err
		}
	}
	return nil
}

type createFlags struct {
	label, algorithm, file, upstream, key string
	bits                                  int
	passphraseFile                        string
	principals                            []string
}

func newIdentityCreateCommand(a *app) *cobra.Command {
	var f createFlags
	cmd := a.withJSON(&cobra.Command{
		Use:   "create --label LABEL",
		Short: "Make an SSH key on this phone, import one, or take one of another agent",
		Long: `Makes an SSH key, keeps it in a file that is encrypted under a passphrase, and
prints its line for authorized_keys. The passphrase is asked at each signature.

--import takes an existing private key file instead: OpenSSH's, OpenSSL's (PEM,
PKCS #8) or PuTTY's (.ppk), encrypted or not. --upstream takes a key of
another SSH agent on this machine, such as one in front of a hardware token;
--key chooses which by its fingerprint.`,
		Example: `  vmux phone identity create --label work
  vmux phone identity create --label old --import ~/.ssh/id_ed25519
  vmux phone identity create --label token --upstream "$SSH_AUTH_SOCK"`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.algorithm = algorithmNamed(f.algorithm)
			if err := f.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return orHint(a.createIdentity(cmd.Context(), f), "vmux phone identity create --help")
		},
	})
	fl := cmd.Flags()
	fl.StringVar(&f.label, "label", "", "the key's `LABEL`: its comment in every listing")
	fl.StringVar(&f.algorithm, "algorithm", ssh.KeyAlgoECDSA256, "OpenSSH key `TYPE`, or as ssh-keygen -t has it: ecdsa, ed25519, rsa")
	fl.IntVar(&f.bits, "bits", signer.MinRSABits, "size of an ssh-rsa key")
	fl.StringVar(&f.file, "import", "", "private key `FILE` to import")
	fl.StringVar(&f.upstream, "upstream", "", "`SOCKET` of another SSH agent")
	fl.StringVar(&f.key, "key", "", "`FINGERPRINT` of the upstream agent's key")
	fl.StringSliceVar(&f.principals, "principals", nil, "`NAMES` in session certificates for this identity (default the CA's)")
	passphraseFlag(cmd, &f.passphraseFile)
	return cmd
}

// algorithmNamed returns the key type for a name of ssh-keygen -t, and any other
// name as it is.
func algorithmNamed(name string) string {
	switch name {
	case "ecdsa":
		return ssh.KeyAlgoECDSA256
	case "ed25519":
		return ssh.KeyAlgoED25519
	case "rsa":
		return ssh.KeyAlgoRSA
	}
	return name
}

// check finds what would be ignored, or fail once the passphrase is typed; set
// tells the flags that were given.
func (f createFlags) check(set func(string) bool) error {
	made := f.file == "" && f.upstream == ""
	switch {
	case f.label == "":
		return usagef("--label is missing")
	case signer.CheckLabel(f.label) != nil:
		return usagef("--label: %v", signer.CheckLabel(f.label))
	case signer.CheckPrincipals(f.principals) != nil:
		return usagef("--principals: %v", signer.CheckPrincipals(f.principals))
	case f.file != "" && f.upstream != "":
		return usagef("--import and --upstream exclude each other")
	case f.key != "" && f.upstream == "":
		return usagef("--key is for --upstream")
	case f.upstream != "" && f.passphraseFile != "":
		return usagef("--passphrase-file is not for --upstream: that agent asks for what it needs")
	case !made && (set("algorithm") || set("bits")):
		return usagef("--algorithm and --bits are for a new key, not for --import or --upstream")
	case set("bits") && f.algorithm != ssh.KeyAlgoRSA:
		return usagef("--bits is for --algorithm ssh-rsa")
	}
	if err := signer.CheckAlgorithm(f.algorithm, f.bits); made && err != nil {
		return usagef("%s", err)
	}
	return nil
}

func (a *app) createIdentity(ctx context.Context, f createFlags) error {
	p, err := openPhone()
	if err != nil {
		return err
	}
	if err := p.Signer.CheckNew(f.label); err != nil {
		return withHint(err, "choose another --label; vmux phone identity list shows those there are")
	}
	var i signer.Identity
	switch {
	case f.upstream != "":
		i, err = addUpstream(ctx, p, f)
	case f.file != "":
		i, err = a.importKey(ctx, p, f)
	default:
		i, err = a.makeKey(ctx, p, f)
	}
	if err == nil && len(f.principals) > 0 {
		err = p.Signer.SetPrincipals(i, f.principals)
	}
	if errors.Is(err, signer.ErrExists) {
		return withHint(err, "vmux phone identity list")
	}
	if err != nil {
		return err
	}
	return a.answer(answerOf(i), func() error { return a.line("%s", i.AuthorizedKey()) })
}

func (a *app) makeKey(ctx context.Context, p *phone.Phone, f createFlags) (signer.Identity, error) {
	secret, err := a.passphrase(ctx, f.passphraseFile, "New passphrase for "+wire.Show(f.label), true)
	if err != nil {
		return signer.Identity{}, err
	}
	defer clear(secret)
	return p.Signer.Create(f.label, f.algorithm, f.bits, secret)
}

// importKey uses the one passphrase for the file it reads and the file it
// keeps; an unencrypted file gets one.
func (a *app) importKey(ctx context.Context, p *phone.Phone, f createFlags) (signer.Identity, error) {
	file, err := readKeyFile(f.file)
	if err != nil {
		return signer.Identity{}, err
	}
	defer clear(file)
	key, err := signer.ParsePrivateKey(file, nil)
	encrypted := errors.Is(err, signer.ErrEncrypted)
	if err != nil && !encrypted {
		return signer.Identity{}, unreadable(err, f.file)
	}
	signer.Wipe(key)
	prompt := "New passphrase for " + wire.Show(f.label)
	if encrypted {
		prompt = "Passphrase of " + wire.Show(filepath.Base(f.file))
	}
	secret, err := a.passphrase(ctx, f.passphraseFile, prompt, !encrypted)
	if err != nil {
		return signer.Identity{}, err
	}
	defer clear(secret)
	var old []byte
	if encrypted {
		old = secret
	}
	i, err := p.Signer.Import(f.label, file, old, secret)
	if err == nil {
		a.say("imported. Anybody who has the original can still use the key: remove %s, and its copies and backups", wire.Show(f.file))
	}
	return i, unreadable(err, f.file)
}

// unreadable adds what helps to read a key file.
func unreadable(err error, path string) error {
	var e *keyfile.Error
	switch {
	case errors.As(err, &e):
		return wrong(err, "%s", e.Hint(shellWord(path)))
	case errors.Is(err, signer.ErrEncrypted): // and the passphrase that was given is empty
		return withHint(errors.New("the passphrase is empty, and the key file has another"), "ssh-keygen -y -f %s tries a passphrase", shellWord(path))
	case errors.Is(err, signer.ErrWrongPassphrase):
		return withHint(err, "ssh-keygen -y -f %s tries a passphrase", shellWord(path))
	}
	return err
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, wrongFile(fmt.Errorf("read key file: %w", err), "--import FILE, such as ~/.ssh/id_ed25519")
	}
	defer f.Close()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = errors.New("too large for a key file")
	}
	if err != nil {
		return nil, wrongFile(fmt.Errorf("read key file: %w", err), "--import FILE, such as ~/.ssh/id_ed25519")
	}
	return b, nil
}

func addUpstream(ctx context.Context, p *phone.Phone, f createFlags) (signer.Identity, error) {
	socket, err := filepath.Abs(f.upstream)
	if err != nil {
		return signer.Identity{}, err
	}
	keys, err := phone.UpstreamKeys(ctx, socket)
	if err != nil {
		return signer.Identity{}, wrongFile(err, "--upstream SOCKET of an agent that runs; SSH_AUTH_SOCK often names it")
	}
	var found []signer.Identity
	var names []string
	for _, k := range keys {
		i := signer.Identity{
			Label: f.label, Algorithm: k.Format, PublicKey: bytes.Clone(k.Blob), Enabled: true,
			CreatedAt: time.Now().UTC(), Provider: signer.ProviderUpstream, Ref: socket,
		}
		names = append(names, i.Fingerprint())
		if f.key == "" || i.Fingerprint() == f.key {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return signer.Identity{}, withHint(errors.New("the agent has no such key"), "SSH_AUTH_SOCK=%s ssh-add -l shows what it has", shellWord(socket))
	case len(found) > 1:
		return signer.Identity{}, withHint(errors.New("the agent has several keys"), "--key with one of: %s", strings.Join(names, " "))
	}
	return found[0], p.Signer.Add(found[0])
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
		Args: args("IDENTITY"),
		RunE: func(_ *cobra.Command, v []string) error {
			if public && out != "" {
				return usagef("--public prints, --out writes the private key: choose one")
			}
			return withIdentity(v[0], func(s *signer.Signer, i signer.Identity) error {
				if out == "" {
					return a.line("%s", i.AuthorizedKey())
				}
				return wrongFile(exportKey(s, i, out), "--out FILE that is not there yet, in a folder that is")
			})
		},
	}
	cmd.Flags().BoolVar(&public, "public", false, "print the public line, as without any flag")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the encrypted private key to")
	return cmd
}

func exportKey(s *signer.Signer, i signer.Identity, path string) error {
	b, err := s.Export(i)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("export: %w", errors.Join(err, f.Close()))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}
