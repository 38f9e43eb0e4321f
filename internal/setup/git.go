package setup

import (
	"path/filepath"
	"strings"
)

// Git is what git is told to sign with a phone-held key.
type Git struct {
	File    string // git's own, to which `git config --global` writes
	Key     string // user.signingkey
	Program string // gpg.ssh.program
	Signers string // the file of allowed signers
	Signer  string // the key's line in it; empty: it is there
}

// gitInclude begins what names another file to git.
const gitInclude = "[include]\n"

// git has git read a file of setup's own before anything else, so that whatever a person
// has set, or sets from now on, wins.
func (w Wish) git() []Change {
	if w.Git == nil {
		return nil
	}
	var all []Change
	if w.Git.Signer != "" { // beside those of earlier keys, whose signatures are verified still
		all = append(all, Change{Path: w.Git.Signers, mode: 0o644, part: PartGit + " " + w.Git.Signer, Lines: marked + w.Git.Signer + "\n"})
	}
	fragment := w.GitFragment()
	return append(all,
		Change{Path: fragment, Own: true, mode: 0o600, Lines: marked + `[gpg]
	format = ssh
[user]
	signingkey = ` + gitQuote(w.Git.Key) + `
[gpg "ssh"]
	program = ` + gitQuote(w.Git.Program) + `
	allowedSignersFile = ` + gitQuote(w.Git.Signers) + "\n"},
		Change{Path: w.Git.File, Top: true, mode: 0o644, Lines: marked + gitInclude + "\tpath = " + gitQuote(fragment) + "\n"})
}

// GitFragment is the file that git is told to read: beside the configuration file.
func (w Wish) GitFragment() string { return filepath.Join(filepath.Dir(w.ConfigFile), "git.conf") }

// gitQuote makes one value of s in a file of git's (git-config(1), CONFIGURATION FILE).
func gitQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
