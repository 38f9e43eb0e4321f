package setup

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// configurations is where the person's programs look for their files.
func (w Wish) configurations() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(w.Home, ".config")
}

// managed is where the service manager looks for its files.
func (w Wish) managed() string { return cmp.Or(w.Managed, w.configurations()) }

// bashProfile is the one file that bash reads in a login shell (bash(1), INVOCATION): to
// make an earlier one would hide those that there are.
func (w Wish) bashProfile() string {
	names := []string{".bash_profile", ".bash_login", ".profile"}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(w.Home, name)); err == nil {
			return name
		}
	}
	return names[0]
}

// shell tells ssh-add and other programs that do not read ssh's configuration. A login
// from elsewhere keeps the agent that was forwarded with it.
func (w Wish) shell() (all []Change) {
	socket := shellQuote(w.Socket)
	if below, ok := strings.CutPrefix(w.Socket, filepath.Clean(w.Home)+"/"); ok {
		socket = `"$HOME"/` + shellQuote(below)
	}
	line := "\n" + marked + `[ -n "${SSH_CONNECTION-}" ] || export SSH_AUTH_SOCK=` + socket + "\n"
	if slices.Contains(w.Shells, "bash") {
		all = append(all, Change{Path: filepath.Join(w.Home, w.bashFile()), mode: 0o644, Lines: line})
	}
	if slices.Contains(w.Shells, "zsh") {
		folder := w.Home
		if dir := os.Getenv("ZDOTDIR"); filepath.IsAbs(dir) {
			folder = dir
		}
		all = append(all, Change{Path: filepath.Join(folder, ".zshrc"), mode: 0o644, Lines: line})
	}
	if slices.Contains(w.Shells, "fish") {
		all = append(all, Change{
			Path: filepath.Join(w.configurations(), "fish", "conf.d", "vmux.fish"), Own: true, mode: 0o644,
			Lines: marked + "set -q SSH_CONNECTION; or set -gx SSH_AUTH_SOCK " + socket + "\n",
		})
	}
	return all
}

// shellQuote makes one word of s for sh, bash, zsh and fish.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+:@,", r))
	}
	if strings.IndexFunc(s, plain) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
