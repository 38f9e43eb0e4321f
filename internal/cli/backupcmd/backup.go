// Package backupcmd is `vmux phone backup` and `vmux phone restore`. Files, terminals and
// passphrases are theirs; what is in a backup, and what becomes of it, is the phone's.
package backupcmd

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"

	"vmux/internal/cli/command"
	"vmux/internal/cli/phonecmd"
	"vmux/internal/nativephone"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/transfer"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// app is what the two commands work with.
type app struct{ *command.IO }

// New makes the two commands.
func New(io *command.IO) []*cobra.Command {
	a := &app{io}
	return []*cobra.Command{newBackupCommand(a), newRestoreCommand(a)}
}

// secretFiles name where a backup's passphrase, and those of the keys, are read from.
type secretFiles struct{ backup, keys string }

func (f *secretFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.backup, "passphrase-file", "", "read the backup's passphrase from `FILE` (- is standard input) instead of asking")
	cmd.Flags().StringVar(&f.keys, "key-passphrase-file", "", "read the passphrase of the keys on this phone from `FILE` instead of asking")
}

func newBackupCommand(a *app) *cobra.Command {
	var from secretFiles
	cmd := a.WithJSON(&cobra.Command{
		Use: "backup FILE", Short: "Write the keys, the CA and the policies to an encrypted file",
		Long: `Writes the identities with their private keys, the CA, what they may do, the servers
that this phone remembers, and which certificates it has issued and revoked to a new file,
encrypted under a passphrase of its own. "vmux phone restore" and the web app read it on
another phone, and so does "age -d". - is standard output.

Each key's own passphrase is asked for before the key leaves, and the log says that it
did. Not in the file are keys of other agents (which are named in it), the pairings, and
the log.

Whoever has the file and its passphrase has the keys: keep the two apart.`,
		Example: "  vmux phone backup ~/usb/phone.age",
		RunE:    func(cmd *cobra.Command, v []string) error { return a.backup(cmd.Context(), v[0], from) },
	})
	from.flags(cmd)
	return cmd
}

func (a *app) backup(ctx context.Context, path string, from secretFiles) error {
	if from.backup == "-" && from.keys == "-" {
		return command.Usagef("only one of the two passphrases can be read from standard input")
	}
	if path != "-" {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return errThere(path)
		}
		if _, err := os.Stat(filepath.Dir(path)); err != nil { // before anybody types a passphrase
			return command.WrongFile(fmt.Errorf("write the backup: %w", err), hintFolder)
		}
	}
	secrets, err := a.keySecrets(ctx, from.keys)
	defer func() {
		for _, s := range secrets {
			clear(s)
		}
	}()
	if err != nil {
		return err
	}
	passphrase, err := a.newBackupPassphrase(ctx, from.backup)
	if err != nil {
		return err
	}
	defer clear(passphrase)
	made, err := makeBackup(ctx, backupOf{secrets, passphrase})
	if err != nil {
		return err
	}
	if path == "-" {
		err = a.Text(string(made.File))
	} else if err = state.WriteNew(path, made.File); errors.Is(err, fs.ErrExist) { // since it was looked for
		return errThere(path)
	} else if err != nil {
		return command.WrongFile(fmt.Errorf("write the backup: %w", err), hintFolder)
	}
	if err != nil {
		return err
	}
	if _, err := noteSaved(ctx, made.Fingerprints); err != nil || path == "-" {
		return err
	}
	made.File = nil
	return a.Answer(made, func() error { return a.showBackup(path, made) })
}

const hintFolder = "a FILE in a folder that is there"

func errThere(path string) error {
	return command.Usage(wire.Show(path)+" is there already, or cannot be looked at", "a FILE that is not there yet: an older backup is replaced by nobody but you")
}

func (a *app) showBackup(path string, made transfer.Made) error {
	for _, label := range made.Keys {
		if err := a.Line("key  %s", wire.Show(label)); err != nil {
			return err
		}
	}
	if made.CA {
		if err := a.Line("CA"); err != nil {
			return err
		}
	}
	if made.Servers > 0 {
		if err := a.Line("%s", command.Counted(made.Servers, "remembered server")); err != nil {
			return err
		}
	}
	if made.Certificates > 0 {
		if err := a.Line("%s", command.Counted(made.Certificates, "certificate")); err != nil {
			return err
		}
	}
	if len(made.Keys) == 0 && !made.CA {
		a.Say("there is NO KEY in it: this phone has none that can leave it")
	}
	for _, m := range made.Missing {
		a.Say("not in this backup: %s, which is held elsewhere", wire.Show(m.Label))
	}
	a.Say("keep %s and its passphrase in two places, and try it: vmux phone restore --dry-run %s", wire.Show(path), command.ShellWord(path))
	return nil
}

// keySecrets returns passphrases that open all keys. Each is tried on all of them.
func (a *app) keySecrets(ctx context.Context, file string) (secrets [][]byte, err error) {
	const most = 3
	tried := map[string]int{}
	for {
		label, err := lockedKey(ctx, secrets)
		if err != nil || label == "" {
			return secrets, err
		}
		tried[label]++
		switch {
		case file != "" && len(secrets) > 0:
			return secrets, command.WithHint(fmt.Errorf("the passphrase in %s is not that of %s", wire.Show(file), wire.Show(label)), "without --key-passphrase-file you are asked for each key's passphrase")
		case tried[label] > most:
			return secrets, wire.NewError(wire.CodeAuthenticationFailed)
		case tried[label] > 1:
			a.Say("wrong passphrase")
		}
		secret, err := a.PassphraseOf(ctx, "--key-passphrase-file", file, "Passphrase of "+wire.Show(label), false)
		if err != nil {
			return secrets, err
		}
		secrets = append(secrets, secret)
	}
}

// newBackupPassphrase reads or asks for one; on a terminal, Enter makes it.
func (a *app) newBackupPassphrase(ctx context.Context, file string) ([]byte, error) {
	in, ok := command.Terminal(a.In)
	if file != "" || !ok {
		secret, err := a.Passphrase(ctx, file, "Passphrase for the backup", false)
		if err == nil {
			err = command.OrHint(backup.CheckPassphrase(secret), "a longer one; on a terminal, without --passphrase-file, one is made")
		}
		return secret, err
	}
	first, err := a.Hidden(ctx, in, "Passphrase for the backup (Enter alone: make one)")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		made := backup.NewPassphrase()
		a.Say("the backup's passphrase, which is shown only now: write it down\n\n    %s\n", made)
		return []byte(made), nil
	}
	if err := backup.CheckPassphrase(first); err != nil {
		clear(first)
		return nil, command.OrHint(err, "run it again, and press Enter alone to have one made")
	}
	return a.Again(ctx, in, first)
}

// lockedKey names a key that none of the passphrases opens, "" if there is none.
var lockedKey = phonecmd.Operation("backup (check)", func(_ context.Context, p *nativephone.Phone, secrets [][]byte) (string, error) {
	err := p.Signer.Backups.Unlocked(secrets)
	if locked, ok := errors.AsType[*transfer.LockedError](err); ok && errors.Is(err, identity.ErrWrongPassphrase) {
		return locked.Label, nil
	}
	return "", err
})

type backupOf struct {
	Keys       [][]byte // passphrases
	Passphrase []byte
}

var makeBackup = phonecmd.Operation("backup", func(_ context.Context, p *nativephone.Phone, in backupOf) (transfer.Made, error) {
	defer clear(in.Passphrase)
	return p.Signer.Backups.Make(in.Keys, in.Passphrase)
})

var noteSaved = phonecmd.Operation("backup (saved)", func(_ context.Context, p *nativephone.Phone, fingerprints []string) (struct{}, error) {
	return struct{}{}, p.Signer.Backups.Saved(fingerprints)
})

func newRestoreCommand(a *app) *cobra.Command {
	var from secretFiles
	var dry bool
	cmd := a.WithJSON(&cobra.Command{
		Use: "restore FILE", Short: "Add the keys, the CA and the policies of a backup to this phone",
		Long: `Adds what is in a backup and not on this phone, whichever kind of phone has made it:
all of it or, on an error, nothing. What is on this phone stays as it is, and what
differs is named. The keys are encrypted anew, under a passphrase that you choose here.
- is standard input.

Pairings are not in a backup: pair this phone with your computers next. If the phone
that made it is lost, "vmux phone retire" says what else to do.`,
		Example: "  vmux phone restore --dry-run ~/usb/phone.age\n  vmux phone restore ~/usb/phone.age",
		RunE:    func(cmd *cobra.Command, v []string) error { return a.restore(cmd.Context(), v[0], dry, from) },
	})
	from.flags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "decrypt the backup, say what would become of each part, and change nothing")
	return cmd
}

func (a *app) restore(ctx context.Context, path string, dry bool, from secretFiles) error {
	if path == "-" && (from.backup == "-" || from.keys == "-") {
		return command.Usagef("standard input is the backup, and cannot be its passphrase as well")
	}
	file, err := a.readBackup(ctx, path)
	if err != nil {
		return err
	}
	if err := backup.Check(file); err != nil {
		return command.WithHint(err, "%s", whyNotOpened(err))
	}
	if path == "-" {
		if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil { // where ssh-keygen and age ask, too
			defer tty.Close()
			a = &app{&command.IO{In: tty, Out: a.Out, Err: a.Err, JSON: a.JSON}}
		}
	}
	passphrase, err := a.Passphrase(ctx, from.backup, "Passphrase of the backup", false)
	if err != nil {
		return err
	}
	defer clear(passphrase)
	in := restoreOf{File: file, Passphrase: passphrase}
	found, err := restoreBackup(ctx, in) // also finds what is wrong before anybody chooses a passphrase
	if err != nil {
		return err
	}
	if dry {
		a.Say("nothing is changed: this is what would be without --dry-run")
		return a.showRestored(found)
	}
	in.KeyPassphrase = []byte{}
	if transfer.NeedsKeys(found.Outcomes) {
		if in.KeyPassphrase, err = a.PassphraseOf(ctx, "--key-passphrase-file", from.keys, "New passphrase for the keys on this phone", true); err != nil {
			return err
		}
		defer clear(in.KeyPassphrase)
	}
	done, err := restoreBackup(ctx, in)
	if err != nil {
		return err
	}
	if err := a.showRestored(done); err != nil {
		return err
	}
	a.Hint("vmux phone pair INVITATION, with what `vmux pair` prints on your computer")
	return nil
}

func (a *app) readBackup(ctx context.Context, path string) ([]byte, error) {
	const most = backup.MaxSize + 1
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(io.LimitReader(a.Input(ctx), most))
	} else {
		b, err = command.ReadFile(ctx, path, most)
	}
	if err != nil {
		return nil, command.WrongFile(fmt.Errorf("read backup: %w", err), "a FILE that `vmux phone backup` or the app has made")
	}
	return b, nil
}

// restoreOf is a backup to be restored; without KeyPassphrase, to be looked at.
type restoreOf struct{ File, Passphrase, KeyPassphrase []byte }

// restored is what became of a backup, or would.
type restored struct {
	CreatedAt time.Time          `json:"createdAt"`
	Outcomes  []transfer.Outcome `json:"outcomes"`
}

var restoreBackup = phonecmd.Operation("restore", func(_ context.Context, p *nativephone.Phone, in restoreOf) (restored, error) {
	defer clear(in.Passphrase)
	defer clear(in.KeyPassphrase)
	doc, err := backup.Open(in.File, in.Passphrase)
	// Keyboards, pastes and files compose letters in other ways, as the app knows, too.
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		if other := form.Bytes(in.Passphrase); errors.Is(err, backup.ErrWrongPassphrase) && !form.IsNormal(in.Passphrase) {
			doc, err = backup.Open(in.File, other)
			clear(other)
		}
	}
	if err != nil {
		return restored{}, command.WithHint(err, "%s", whyNotOpened(err))
	}
	defer doc.Wipe()
	var add func(string, crypto.PrivateKey) (identity.Identity, error)
	if in.KeyPassphrase != nil {
		add = func(label string, key crypto.PrivateKey) (identity.Identity, error) {
			return p.AddKey(label, key, in.KeyPassphrase)
		}
	}
	outcomes, err := p.Signer.Backups.Restore(doc, add)
	return restored{doc.CreatedAt, outcomes}, err
})

func whyNotOpened(err error) string {
	switch {
	case errors.Is(err, backup.ErrWrongPassphrase):
		return "type it as it was written down; `age -d FILE` tries one, too"
	case errors.Is(err, backup.ErrNewer):
		return "bring vmux on this phone to the version that made it"
	case errors.Is(err, backup.ErrNotBackup):
		return "a FILE that `vmux phone backup` or the app has made, under a passphrase"
	case errors.Is(err, backup.ErrTooCostly):
		return "encrypt it anew: age -d FILE | age -p -o NEW"
	}
	return "copy it anew from where it was kept, or take another copy"
}

func (a *app) showRestored(r restored) error {
	return a.Answer(r, func() error {
		a.Say("the backup is of %s", command.LocalTime(r.CreatedAt))
		for _, o := range r.Outcomes {
			if err := a.Line("%s  %s  %s", o.What, wire.Show(o.Name), wire.Show(o.Text)); err != nil {
				return err
			}
			if o.PublicKey != "" {
				a.Say("its public line, to be taken out of your servers if that phone is gone: %s", o.PublicKey)
			}
		}
		return nil
	})
}
