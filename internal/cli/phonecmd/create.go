package phonecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"vmux/internal/cli/command"
	"vmux/internal/keyfile"
	"vmux/internal/nativephone"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/state"
	"vmux/internal/wire"
)

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
	fl.IntVar(&f.bits, "bits", identity.MinRSABits, "size of an ssh-rsa key")
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
	case identity.CheckLabel(f.label) != nil:
		return command.Usagef("--label: %v", identity.CheckLabel(f.label))
	case policy.CheckPrincipals(f.principals) != nil:
		return command.Usagef("--principals: %v", policy.CheckPrincipals(f.principals))
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
	if err := identity.CheckAlgorithm(f.algorithm, f.bits); made && err != nil {
		return command.Usagef("%s", err)
	}
	return nil
}

func (a *app) createIdentity(ctx context.Context, f createFlags) error {
	if _, err := checkNewIdentity(ctx, f.label); err != nil {
		return err
	}
	var i identity.Identity
	var err error
	switch {
	case f.upstream != "":
		i, err = addUpstream(ctx, f)
	case f.file != "":
		i, err = a.importKey(ctx, f)
	default:
		var secret []byte
		if secret, err = a.Passphrase(ctx, f.passphraseFile, "New passphrase for "+wire.Show(f.label), true); err != nil {
			return err
		}
		defer clear(secret)
		i, err = makeIdentity(ctx, newIdentity{Label: f.label, Algorithm: f.algorithm, Bits: f.bits, Passphrase: secret, Principals: f.principals})
	}
	if err != nil {
		return err
	}
	return a.Answer(answerOf(i), func() error { return a.Line("%s", i.AuthorizedKey()) })
}

// checkNewIdentity finds out whether one of that label can be made, before anybody is
// asked for a passphrase.
var checkNewIdentity = Operation("identity create (check)", func(_ context.Context, p *nativephone.Phone, label string) (nothing, error) {
	return nothing{}, command.WithHint(p.Signer.Identities.CheckNew(label), "choose another --label; vmux phone identity list shows those there are")
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
	Upstream   *identity.Identity
	Principals []string
}

var makeIdentity = Operation("identity create", func(_ context.Context, p *nativephone.Phone, in newIdentity) (i identity.Identity, err error) {
	defer clear(in.Passphrase)
	defer clear(in.File)
	switch {
	case in.Upstream != nil:
		i, err = *in.Upstream, p.Signer.Identities.Add(*in.Upstream)
	case in.File != nil:
		var old []byte
		if in.Encrypted {
			old = in.Passphrase
		}
		i, err = p.Signer.Identities.Import(in.Label, in.File, old, in.Passphrase)
		err = unreadable(err, in.Path)
	default:
		i, err = p.Signer.Identities.Create(in.Label, in.Algorithm, in.Bits, in.Passphrase)
	}
	if err == nil && len(in.Principals) > 0 {
		err = p.Signer.Identities.SetPrincipals(i, in.Principals)
	}
	if errors.Is(err, identity.ErrExists) {
		err = command.WithHint(err, "vmux phone identity list")
	}
	return i, err
})

// importKey uses the one passphrase for the file it reads and the file it
// keeps; an unencrypted file gets one.
func (a *app) importKey(ctx context.Context, f createFlags) (identity.Identity, error) {
	const most = 64 << 10
	file, err := command.ReadFile(ctx, f.file, most+1)
	if err == nil && len(file) > most {
		err = errors.New("too large for a key file")
	}
	if err != nil {
		return identity.Identity{}, command.WrongFile(fmt.Errorf("read key file: %w", err), "--import FILE, such as ~/.ssh/id_ed25519")
	}
	defer clear(file)
	key, err := identity.ParsePrivateKey(file, nil)
	encrypted := errors.Is(err, identity.ErrEncrypted)
	if err != nil && !encrypted {
		return identity.Identity{}, unreadable(err, f.file)
	}
	identity.Wipe(key)
	prompt := "New passphrase for " + wire.Show(f.label)
	if encrypted {
		prompt = "Passphrase of " + wire.Show(filepath.Base(f.file))
	}
	secret, err := a.Passphrase(ctx, f.passphraseFile, prompt, !encrypted)
	if err != nil {
		return identity.Identity{}, err
	}
	defer clear(secret)
	i, err := makeIdentity(ctx, newIdentity{
		Label: f.label, File: file, Path: f.file, Encrypted: encrypted, Passphrase: secret, Principals: f.principals,
	})
	if err == nil && !isKept(f.file, i) {
		a.Say("imported. Anybody who has the original can still use the key: remove %s, and its copies and backups", wire.Show(f.file))
	}
	return i, err
}

// isKept reports whether a file is the one that the phone keeps of an identity: whoever has lost
// the list of identities imports these, and must not be told to remove them.
func isKept(path string, i identity.Identity) bool {
	home, err := state.Find()
	file, err2 := os.Stat(path)
	kept, err3 := os.Stat(filepath.Join(home.Path(), "phone", i.Ref))
	return errors.Join(err, err2, err3) == nil && os.SameFile(file, kept)
}

// unreadable adds what helps to read a key file.
func unreadable(err error, path string) error {
	var e *keyfile.Error
	switch {
	case errors.As(err, &e):
		return command.Wrong(err, "%s", e.Hint(command.ShellWord(path)))
	case errors.Is(err, identity.ErrEncrypted): // and the passphrase that was given is empty
		return command.WithHint(errors.New("the passphrase is empty, and the key file has another"), "ssh-keygen -y -f %s tries a passphrase", command.ShellWord(path))
	case errors.Is(err, identity.ErrWrongPassphrase):
		return command.WithHint(err, "ssh-keygen -y -f %s tries a passphrase", command.ShellWord(path))
	}
	return err
}

func addUpstream(ctx context.Context, f createFlags) (identity.Identity, error) {
	socket, err := filepath.Abs(f.upstream)
	if err != nil {
		return identity.Identity{}, err
	}
	keys, err := nativephone.UpstreamKeys(ctx, socket)
	if err != nil {
		return identity.Identity{}, command.WrongFile(err, "--upstream SOCKET of an agent that runs; SSH_AUTH_SOCK often names it")
	}
	var found []identity.Identity
	var names []string
	for _, k := range keys {
		i := identity.Identity{
			Label: f.label, Algorithm: k.Format, PublicKey: bytes.Clone(k.Blob), Enabled: true,
			CreatedAt: time.Now().UTC(), Provider: identity.ProviderUpstream, Ref: socket,
		}
		names = append(names, i.Fingerprint())
		if f.key == "" || i.Fingerprint() == f.key {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return identity.Identity{}, command.WithHint(errors.New("the agent has no such key"), "SSH_AUTH_SOCK=%s ssh-add -l shows what it has", command.ShellWord(socket))
	case len(found) > 1:
		return identity.Identity{}, command.WithHint(errors.New("the agent has several keys"), "--key with one of: %s", strings.Join(names, " "))
	}
	return makeIdentity(ctx, newIdentity{Label: f.label, Upstream: &found[0], Principals: f.principals})
}
