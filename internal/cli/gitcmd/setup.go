package gitcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

// maxSigners bounds what is read of a file of allowed signers, in bytes.
const maxSigners = 4 << 20

// gitSetup is what `vmux git setup` has written.
type gitSetup struct {
	Key            string            `json:"key"` // fingerprint
	Email          string            `json:"email"`
	AllowedSigners string            `json:"allowedSigners"` // file
	Config         map[string]string `json:"config"`
}

// NewSetup makes `vmux git setup`.
func NewSetup(io *command.IO) *cobra.Command {
	a := &app{io}
	var key string
	var local, always, undo bool
	cmd := a.WithJSON(&cobra.Command{
		Use:   "setup",
		Short: "Tell git to sign with a phone-held key",
		Long: `Writes gpg.format, user.signingkey, gpg.ssh.program and gpg.ssh.allowedSignersFile
to git's configuration, and the key to the file of allowed signers, by which
git log --show-signature verifies. A file of allowed signers that git knows
already is added to. --undo takes back what was written, and puts back what git had
before; what has been changed since stays.

A git host shows a signature as verified when it has the key as a signing key:
GitHub at https://github.com/settings/ssh/new (key type: Signing Key), GitLab at
https://gitlab.com/-/user_settings/ssh_keys (usage: Signing).`,
		Example: "  vmux git setup\n  vmux git setup --key work --always\n  git commit -S\n  vmux git setup --undo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			scope := "--global"
			if local {
				scope = "--local"
			}
			if undo {
				return a.undo(cmd.Context(), scope)
			}
			return a.setUp(cmd.Context(), key, scope, always)
		},
	})
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "comment or fingerprint of the `KEY` (default the first phone-held one)")
	f.BoolVar(&local, "local", false, "for the repository that you are in alone")
	f.BoolVar(&undo, "undo", false, "take back what was written")
	f.BoolVar(&always, "always", false, "sign every commit and tag, without -S and -s")
	return cmd
}

func (a *app) setUp(ctx context.Context, name, scope string, always bool) error {
	status, err := command.Client().Status(ctx)
	if err != nil {
		return err
	}
	id, err := SigningKey(status, name)
	if err != nil {
		return err
	}
	folder := ""
	if scope == "--global" {
		folder = Anywhere
	}
	email, err := Email(ctx, folder)
	if err != nil {
		return err
	}
	program, err := Program()
	if err != nil {
		return err
	}
	signingKey, err := SigningKeyFor(ctx, id.PublicKey)
	if err != nil {
		return err
	}
	record, err := openGitRecord(ctx, scope)
	if err != nil {
		return err
	}
	signers, line, err := allowSigner(ctx, folder, email, id.PublicKey)
	if err != nil {
		return err
	}
	if line != "" {
		record.Lines = append(record.Lines, signersLine{signers, line})
	}
	settings := [][2]string{
		{"gpg.format", "ssh"}, {"user.signingkey", signingKey},
		{"gpg.ssh.program", program}, {"gpg.ssh.allowedSignersFile", signers},
	}
	if always {
		settings = append(settings, [2]string{"commit.gpgsign", "true"}, [2]string{"tag.gpgsign", "true"})
	}
	done := gitSetup{Key: id.Fingerprint, Email: email, AllowedSigners: signers, Config: map[string]string{}}
	for _, s := range settings {
		if err := record.note(ctx, scope, s[0], s[1]); err != nil {
			return err
		}
		done.Config[s[0]] = s[1]
	}
	if err := record.save(); err != nil { // before git is told, so that all can be taken back
		return err
	}
	for _, s := range settings {
		if err := setGitConfig(ctx, scope, s[0], s[1]); err != nil {
			return command.WithHint(err, "take back what was written until then: vmux git setup --undo%s", strings.TrimSuffix(" "+scope, " --global"))
		}
	}
	if scope == "--global" {
		a.sayOverridden(ctx, settings)
	}
	return a.Answer(done, func() error {
		for _, s := range settings {
			a.Say("git config %s %s %q", scope, s[0], wire.Show(s[1]))
		}
		a.Say("%s signs for %s", wire.Show(id.Comment), wire.Show(email))
		a.Say("tell your git host of the key as a signing key: https://github.com/settings/ssh/new, or https://gitlab.com/-/user_settings/ssh_keys")
		return nil
	})
}

// sayOverridden tells what git goes on with all the same: by the configuration of this
// repository, or by a file that the person's own includes.
func (a *app) sayOverridden(ctx context.Context, settings [][2]string) {
	overridden := false
	for _, s := range settings {
		out, err := exec.CommandContext(ctx, "git", "config", "--show-scope", "--show-origin", "-z", "--get", s[0]).Output()
		fields := strings.Split(string(out), "\x00") // scope, origin, value
		switch {
		case err != nil || len(fields) < 3 || fields[2] == s[1]:
		case fields[0] == "local" || fields[0] == "worktree":
			a.Say("this repository has its own %s, %s, and goes on with that", s[0], wire.Show(fields[2]))
			overridden = true
		default:
			where := wire.Show(strings.TrimPrefix(fields[1], "file:"))
			a.Say("git goes on with the %s that it finds in %s: %s", s[0], where, wire.Show(fields[2]))
			a.Hint("take that line out of %s", where)
		}
	}
	if overridden {
		a.Hint("vmux git setup --local")
	}
}

// SigningKey returns the identity of that comment or fingerprint, or the first
// that git can use: a session certificate is none, since it expires.
func SigningKey(s control.Status, name string) (control.Identity, error) {
	for _, id := range s.Identities {
		if !id.Certificate && (name == "" || id.Comment == name || id.Fingerprint == name) {
			return id, nil
		}
	}
	if name != "" {
		return control.Identity{}, command.WithHint(fmt.Errorf("there is no phone-held key %s", wire.Show(name)), "vmux status")
	}
	return control.Identity{}, command.WithHint(errors.New("there is no phone-held key"), "vmux status")
}

// SigningKeyFor is git's user.signingkey for a public key. Git 2.34, the first that signs by
// SSH keys (Ubuntu 22.04 has it), takes a key itself only if it begins with "ssh-", and what
// begins with "key::", as newer ones want it, for a file's name.
func SigningKeyFor(ctx context.Context, publicKey string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		return "", fmt.Errorf("git version: %w", err)
	}
	var major, minor int
	_, err = fmt.Sscanf(string(out), "git version %d.%d", &major, &minor)
	before := func(n int) bool { return err == nil && (major < 2 || major == 2 && minor < n) }
	kind, _, _ := strings.Cut(publicKey, " ")
	switch {
	case before(34):
		return "", command.WithHint(fmt.Errorf("git %d.%d does not sign by SSH keys", major, minor), "install git 2.34 or newer")
	case before(35) && strings.HasPrefix(kind, "ssh-"):
		return publicKey, nil
	case before(35):
		return "", command.WithHint(fmt.Errorf("git %d.%d does not sign by keys of the type %s", major, minor, kind),
			"install git 2.35 or newer; or vmux git setup --key NAME, with an Ed25519 or RSA key")
	}
	return "key::" + publicKey, nil
}

// Anywhere is a folder in no repository: what is written for all of them is not read from
// one, which may have come from elsewhere.
const Anywhere = "/"

// Email is the address that git commits with in a folder ("": this one), if it can stand in a file of
// allowed signers, where some characters make a pattern or end the name.
func Email(ctx context.Context, folder string) (string, error) {
	const set = "git config --global user.email you@example.com"
	email, err := gitConfig(ctx, folder, "user.email")
	if err == nil && email == "" && folder == Anywhere { // a file of theirs may have it for this repository (includeIf)
		email, err = gitConfig(ctx, "", "--global", "--includes", "user.email")
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", command.WithHint(err, "install git")
	case err != nil:
		return "", err
	case email == "":
		return "", command.WithHint(errors.New("git does not know your e-mail address"), set)
	}
	if strings.ContainsAny(email, " \t\r\n,\"!*?#") {
		return "", command.WithHint(fmt.Errorf("%s cannot stand in a file of allowed signers", wire.Show(email)), set)
	}
	return email, nil
}

func gitConfig(ctx context.Context, folder string, args ...string) (string, error) {
	git := exec.CommandContext(ctx, "git", append([]string{"config", "--get"}, args...)...)
	if git.Dir = folder; folder != "" { // which what a hook is started with would undo
		git.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GIT_DIR=") })
	}
	out, err := git.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return "", nil // not set
	}
	return strings.TrimSpace(string(out)), gitSaid(err)
}

// Signers is the file of allowed signers that git knows in a folder, or the usual one.
func Signers(ctx context.Context, folder string) (string, error) {
	file, err := gitConfig(ctx, folder, "--type=path", "gpg.ssh.allowedSignersFile")
	switch {
	case err != nil:
		return "", err
	case filepath.IsAbs(file):
		return file, nil
	case file == "":
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the home folder: %w", err)
		}
		return filepath.Join(home, ".ssh", "allowed_signers"), nil
	case folder == Anywhere:
		return "", command.WithHint(fmt.Errorf("gpg.ssh.allowedSignersFile is %s, another file in each repository", wire.Show(file)), "vmux git setup --local")
	}
	top, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output() // where git looks for it
	return filepath.Join(strings.TrimSuffix(string(top), "\n"), file), gitSaid(err)
}

// SignersLine lets a key sign for an address (ssh-keygen(1), ALLOWED SIGNERS). It is
// empty if the file has it.
func SignersLine(file, email, publicKey string) (string, error) {
	line := email + ` namespaces="git" ` + publicKey
	old, err := sshconfig.ReadFile(file, maxSigners)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return line, nil
	case err != nil || slices.Contains(strings.Split(string(old), "\n"), line):
		return "", err
	}
	return line, nil
}

// allowSigner adds the key to the file of allowed signers, once, and returns the file,
// and the line if it is new.
func allowSigner(ctx context.Context, folder, email, publicKey string) (file, added string, err error) {
	if file, err = Signers(ctx, folder); err != nil {
		return "", "", err
	}
	if added, err = SignersLine(file, email, publicKey); err != nil || added == "" {
		return file, "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", "", err
	}
	lead := ""
	if old, err := sshconfig.ReadFile(file, maxSigners); err == nil && len(old) > 0 && old[len(old)-1] != '\n' {
		lead = "\n"
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return "", "", err
	}
	_, err = f.WriteString(lead + added + "\n")
	return file, added, errors.Join(err, f.Close())
}
