package phonecmd

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

	"vmux/internal/cli/command"
	"vmux/internal/keyfile"
	"vmux/internal/nativephone"
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
	return a.Group("identity", "Make and manage the SSH keys on this phone",
		newIdentityCreateCommand(a),
		newIdentityListCommand(a),
		&cobra.Command{
			Use: "rename IDENTITY LABEL", Short: "Give an identity another label", Args: command.Args("IDENTITY", "LABEL"),
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
		Use: name + " IDENTITY", Short: short, Args: command.Args("IDENTITY"),
		Long:    short + ".\n\nIDENTITY is a label, a fingerprint, or its first six characters or more.",
		Example: "  vmux phone identity " + name + " work",
		RunE: func(cmd *cobra.Command, v []string) error {
			_, err := change(cmd.Context(), v[0])
			return err
		},
	}
}

// findIdentity is the identity that a person named.
func findIdentity(p *nativephone.Phone, name string) (signer.Identity, error) {
	i, err := p.Signer.Find(name)
	if err != nil {
		err = command.WithHint(fmt.Errorf("identity %q: %w", wire.Show(name), err), "vmux phone identity list")
	}
	return i, err
}

// onIdentity is an operation on the identity that a person named.
func onIdentity(name string, do func(*signer.Signer, signer.Identity) error) func(context.Context, string) (nothing, error) {
	return operation(name, func(_ context.Context, p *nativephone.Phone, name string) (nothing, error) {
		i, err := findIdentity(p, name)
		if err == nil {
			err = do(p.Signer, i)
		}
		return nothing{}, err
	})
}

var (
	enableIdentity  = onIdentity("identity enable", func(s *signer.Signer, i signer.Identity) error { return s.SetEnabled(i, true) })
	disableIdentity = onIdentity("identity disable", func(s *signer.Signer, i signer.Identity) error { return s.SetEnabled(i, false) })
	defaultIdentity = onIdentity("identity default", (*signer.Signer).SetDefault)
	deleteIdentity  = onIdentity("identity delete", (*signer.Signer).Delete)
)

var namedIdentity = operation("identity", func(_ context.Context, p *nativephone.Phone, name string) (signer.Identity, error) {
	return findIdentity(p, name)
})

var identities = operation("identity list", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]signer.Identity, error) {
	return p.Signer.Identities()
})

// encryptedKey is an identity's private key as it rests.
var encryptedKey = operation("identity export", func(_ context.Context, p *nativephone.Phone, name string) ([]byte, error) {
	i, err := findIdentity(p, name)
	if err != nil {
		return nil, err
	}
	return p.Signer.Export(i)
})

type labelChange struct{ Identity, Label string }

var renameIdentity = operation("identity rename", func(_ context.Context, p *nativephone.Phone, in labelChange) (nothing, error) {
	i, err := findIdentity(p, in.Identity)
	if err != nil {
		return nothing{}, err
	}
	return nothing{}, command.WithHint(p.Signer.Rename(i, in.Label), "choose another label; vmux phone identity list shows those there are")
})

func newIdentityDeleteCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete IDENTITY", Short: "Destroy an identity and its private key, for good", Args: command.Args("IDENTITY"),
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
		Use: "list", Short: "List the identities on this phone", Args: command.Args(),
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

type createFlags struct {
	label, algorithm, file, upstream, key string
	bits                                  int
	passphraseFile                        string
	principals                            []string
}

func newIdentityCreateCommand(a *app) *cobra.Command {
	var f createFlags
	cmd := a.WithJSON(&cobra.Command{
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
		Args: command.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.algorithm = algorithmNamed(f.algorithm)
			if err := f.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return command.OrHint(a.createIdentity(cmd.Context(), f), "vmux phone identity create --help")
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
		return command.Usagef("--label is missing")
	case signer.CheckLabel(f.label) != nil:
		return command.Usagef("--label: %v", signer.CheckLabel(f.label))
	case signer.CheckPrincipals(f.principals) != nil:
		return command.Usagef("--principals: %v", signer.CheckPrincipals(f.principals))
	case f.file != "" && f.upstream != "":
		return command.Usagef("--import and --upstream exclude each other")
	case f.key != "" && f.upstream == "":
		return command.Usagef("--key is for --upstream")
	case f.upstream != "" && f.passphraseFile != "":
		return command.Usagef("--passphrase-file is not for --upstream: that agent asks for what it needs")
	case !made && (set("algorithm") || set("bits")):
		return command.Usagef("--algorithm and --bits are for a new key, not for --import or --upstream")
	case set("bits") && f.algorithm != ssh.KeyAlgoRSA:
		return command.Usagef("--bits is for --algorithm ssh-rsa")
	}
	if err := signer.CheckAlgorithm(f.algorithm, f.bits); made && err != nil {
		return command.Usagef("%s", err)
	}
	return nil
}

func (a *app) createIdentity(ctx context.Context, f createFlags) error {
	if _, err := checkNewIdentity(ctx, f.label); err != nil {
		return err
	}
	var i signer.Identity
	var err error
	switch {
	case f.upstream != "":
		i, err = addUpstream(ctx, f)
	case f.file != "":
		i, err = a.importKey(ctx, f)
	default:
		i, err = a.makeKey(ctx, f)
	}
	if err != nil {
		return err
	}
	return a.Answer(answerOf(i), func() error { return a.Line("%s", i.AuthorizedKey()) })
}

// checkNewIdentity finds out whether one of that label can be made, before anybody is
// asked for a passphrase.
var checkNewIdentity = operation("identity create (check)", func(_ context.Context, p *nativephone.Phone, label string) (nothing, error) {
	return nothing{}, command.WithHint(p.Signer.CheckNew(label), "choose another --label; vmux phone identity list shows those there are")
})

// newIdentity is a key to be made, imported (File), or taken of another agent
// (Upstream).
type newIdentity struct {
	Label      string
	Algorithm  string `json:",omitempty"`
	Bits       int    `json:",omitempty"`
	File       []byte `json:",omitempty"`
	Path       string `json:",omitempty"` // of the file, for what is said of it
	Encrypted  bool   // under the passphrase, as it will be
	Passphrase []byte `json:",omitempty"`
	Upstream   *signer.Identity
	Principals []string
}

var makeIdentity = operation("identity create", func(_ context.Context, p *nativephone.Phone, in newIdentity) (i signer.Identity, err error) {
	defer clear(in.Passphrase)
	defer clear(in.File)
	switch {
	case in.Upstream != nil:
		i, err = *in.Upstream, p.Signer.Add(*in.Upstream)
	case in.File != nil:
		var old []byte
		if in.Encrypted {
			old = in.Passphrase
		}
		i, err = p.Signer.Import(in.Label, in.File, old, in.Passphrase)
		err = unreadable(err, in.Path)
	default:
		i, err = p.Signer.Create(in.Label, in.Algorithm, in.Bits, in.Passphrase)
	}
	if err == nil && len(in.Principals) > 0 {
		err = p.Signer.SetPrincipals(i, in.Principals)
	}
	if errors.Is(err, signer.ErrExists) {
		err = command.WithHint(err, "vmux phone identity list")
	}
	return i, err
})

func (a *app) makeKey(ctx context.Context, f createFlags) (signer.Identity, error) {
	secret, err := a.passphrase(ctx, f.passphraseFile, "New passphrase for "+wire.Show(f.label), true)
	if err != nil {
		return signer.Identity{}, err
	}
	defer clear(secret)
	return makeIdentity(ctx, newIdentity{Label: f.label, Algorithm: f.algorithm, Bits: f.bits, Passphrase: secret, Principals: f.principals})
}

// importKey uses the one passphrase for the file it reads and the file it
// keeps; an unencrypted file gets one.
func (a *app) importKey(ctx context.Context, f createFlags) (signer.Identity, error) {
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
	i, err := makeIdentity(ctx, newIdentity{
		Label: f.label, File: file, Path: f.file, Encrypted: encrypted, Passphrase: secret, Principals: f.principals,
	})
	if err == nil {
		a.Say("imported. Anybody who has the original can still use the key: remove %s, and its copies and backups", wire.Show(f.file))
	}
	return i, err
}

// unreadable adds what helps to read a key file.
func unreadable(err error, path string) error {
	var e *keyfile.Error
	switch {
	case errors.As(err, &e):
		return command.Wrong(err, "%s", e.Hint(command.ShellWord(path)))
	case errors.Is(err, signer.ErrEncrypted): // and the passphrase that was given is empty
		return command.WithHint(errors.New("the passphrase is empty, and the key file has another"), "ssh-keygen -y -f %s tries a passphrase", command.ShellWord(path))
	case errors.Is(err, signer.ErrWrongPassphrase):
		return command.WithHint(err, "ssh-keygen -y -f %s tries a passphrase", command.ShellWord(path))
	}
	return err
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, command.WrongFile(fmt.Errorf("read key file: %w", err), "--import FILE, such as ~/.ssh/id_ed25519")
	}
	defer f.Close()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = errors.New("too large for a key file")
	}
	if err != nil {
		return nil, command.WrongFile(fmt.Errorf("read key file: %w", err), "--import FILE, such as ~/.ssh/id_ed25519")
	}
	return b, nil
}

func addUpstream(ctx context.Context, f createFlags) (signer.Identity, error) {
	socket, err := filepath.Abs(f.upstream)
	if err != nil {
		return signer.Identity{}, err
	}
	keys, err := nativephone.UpstreamKeys(ctx, socket)
	if err != nil {
		return signer.Identity{}, command.WrongFile(err, "--upstream SOCKET of an agent that runs; SSH_AUTH_SOCK often names it")
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
		return signer.Identity{}, command.WithHint(errors.New("the agent has no such key"), "SSH_AUTH_SOCK=%s ssh-add -l shows what it has", command.ShellWord(socket))
	case len(found) > 1:
		return signer.Identity{}, command.WithHint(errors.New("the agent has several keys"), "--key with one of: %s", strings.Join(names, " "))
	}
	return makeIdentity(ctx, newIdentity{Label: f.label, Upstream: &found[0], Principals: f.principals})
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
		Args: command.Args("IDENTITY"),
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
			key, err := encryptedKey(cmd.Context(), v[0])
			if err != nil {
				return err
			}
			return command.WrongFile(writeNew(out, key), "--out FILE that is not there yet, in a folder that is")
		},
	}
	cmd.Flags().BoolVar(&public, "public", false, "print the public line, as without any flag")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the encrypted private key to")
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(path string, b []byte) error {
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
