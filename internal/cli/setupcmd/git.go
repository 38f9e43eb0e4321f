package setupcmd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"vmux/internal/cli/command"
	"vmux/internal/cli/gitcmd"
	"vmux/internal/control"
	"vmux/internal/setup"
	"vmux/internal/wire"
)

// gitSigns has git sign with the phone's first key, if that is wanted and git signs with
// no other: what a person has set stays.
func (a *app) gitSigns(ctx context.Context, f setupFlags, record *setup.Record, w setup.Wish, s control.Status, asks bool) error {
	if !f.git && !asks {
		return nil
	}
	w.Parts, w.Config = nil, nil
	about, err := a.gitWish(ctx, &w, s)
	if err != nil && f.git {
		return err
	}
	if err != nil || about == "" {
		return nil // no git here, or nobody who commits
	}
	plan, left, err := a.plan(record, w)
	if err != nil {
		return err
	}
	if len(plan) > 0 && !f.yes {
		if !a.Interactive() {
			return command.Usage("git is not changed: there is no terminal to ask on", "vmux setup --yes --git makes the changes")
		}
		if !a.Confirmed(ctx, about+" Make these changes?") {
			a.Say("git is left as it is")
			return ctx.Err()
		}
	}
	after, err := a.makeAll(record, w, plan)
	if err != nil {
		return err
	}
	a.leftAlone(append(left, after...))
	if len(plan) > 0 {
		a.Say("git commit -S and git tag -s ask the phone; git config --global commit.gpgsign true makes that each commit")
		a.Say("tell your git host of the key as a signing key: https://github.com/settings/ssh/new, or https://gitlab.com/-/user_settings/ssh_keys")
	}
	return nil
}

// gitWish is how git is to sign, and what to ask; "" if it stays as it is.
func (a *app) gitWish(ctx context.Context, w *setup.Wish, s control.Status) (about string, err error) {
	file, err := gitFile(w.Home)
	if err != nil {
		return "", err
	}
	id, err := gitcmd.SigningKey(s, "")
	if err != nil {
		return "", err
	}
	email, err := gitcmd.Email(ctx, gitcmd.Anywhere)
	if err != nil {
		return "", err
	}
	g := &setup.Git{File: file}
	if g.Key, err = gitcmd.SigningKeyFor(ctx, id.PublicKey); err != nil {
		return "", err
	}
	if g.Program, err = gitcmd.Program(); err != nil {
		return "", err
	}
	for _, setting := range [][2]string{{"user.signingkey", g.Key}, {"gpg.format", "ssh"}, {"gpg.ssh.program", g.Program}} {
		switch value := gitSetting(ctx, setting[0], w.GitFragment()); value {
		case "":
		case setting[1]:
			if setting[0] == "user.signingkey" {
				a.Say("git signs with the phone's key already")
				return "", nil
			}
		default:
			a.Say("git signs otherwise, and is left as it is: %s is %s", setting[0], wire.Show(value))
			a.Hint("vmux git setup puts the phone's key in its place, and vmux git setup --undo puts that back")
			return "", nil
		}
	}
	if g.Signers, err = gitcmd.Signers(ctx, gitcmd.Anywhere); err != nil {
		return "", err
	}
	if g.Signer, err = gitcmd.SignersLine(g.Signers, email, id.PublicKey); err != nil {
		return "", err
	}
	w.Git = g
	return "git can sign commits and tags with the phone's key " + wire.Show(id.Comment) + ".", nil
}

// gitFile is the one that `git config --global` writes to (git-config(1), FILES).
func gitFile(home string) (string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", command.WithHint(err, "install git")
	}
	if file := os.Getenv("GIT_CONFIG_GLOBAL"); file != "" {
		return filepath.Abs(file)
	}
	first := filepath.Join(home, ".gitconfig")
	folder := os.Getenv("XDG_CONFIG_HOME")
	if folder == "" {
		folder = filepath.Join(home, ".config")
	}
	second := filepath.Join(folder, "git", "config")
	if _, err := os.Lstat(first); err != nil {
		if _, err := os.Lstat(second); err == nil {
			return second, nil
		}
	}
	return first, nil
}

// gitSetting is what a person has set, in whichever file, and not setup in its own.
func gitSetting(ctx context.Context, name, fragment string) string {
	out, err := exec.CommandContext(ctx, "git", "config", "--global", "--includes", "--show-origin", "-z", "--get-all", name).Output()
	if err != nil {
		return "" // it is not set
	}
	value := ""
	for fields := strings.Split(string(out), "\x00"); len(fields) >= 2; fields = fields[2:] { // origin, value
		if fields[0] != "file:"+fragment {
			value = fields[1]
		}
	}
	return value
}
