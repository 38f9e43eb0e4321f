package setup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// environment tells the programs that the desktop starts (environment.d(5)); it
// counts from the next login.
func (w Wish) environment() []Change {
	socket := w.Socket
	if below, ok := strings.CutPrefix(socket, filepath.Clean(w.Home)+"/"); ok {
		socket = "${HOME}/" + below
	}
	return []Change{{
		Path: filepath.Join(w.configurations(), "environment.d", "vmux.conf"), Own: true, mode: 0o600,
		Lines: marked + "SSH_AUTH_SOCK=" + socket + "\n",
	}}
}

// configurations is where the person's programs look for their files.
func (w Wish) configurations() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(w.Home, ".config")
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
		all = append(all, Change{Path: filepath.Join(w.Home, ".bashrc"), mode: 0o644, Lines: line})
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
