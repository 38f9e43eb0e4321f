package setup

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
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

// zshFolder is where zsh reads its files, which ~/.zshenv may say without telling other
// programs of it.
func (w Wish) zshFolder() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	zsh := exec.CommandContext(ctx, "zsh", "-c", `print -r -- "$ZDOTDIR"`)
	zsh.Env = append(os.Environ(), "HOME="+w.Home)
	zsh.WaitDelay = time.Second
	out, err := zsh.Output()
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	folder := lines[len(lines)-1]
	if err != nil {
		folder = os.Getenv("ZDOTDIR")
	}
	if filepath.IsAbs(folder) {
		return folder
	}
	return w.Home
}

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
// from elsewhere keeps the agent that was forwarded with it, while that is there: it is
// not for who works on in tmux after that login.
func (w Wish) shell() (all []Change) {
	socket := shellQuote(w.Socket)
	if below, ok := strings.CutPrefix(w.Socket, filepath.Clean(w.Home)+"/"); ok {
		socket = `"$HOME"/` + shellQuote(below)
	}
	line := "\n" + marked + `[ -n "${SSH_CONNECTION-}" ] && [ -S "${SSH_AUTH_SOCK-}" ] || export SSH_AUTH_SOCK=` + socket + "\n"
	if slices.Contains(w.Shells, "bash") {
		for _, name := range w.bashFiles() {
			all = append(all, Change{Path: filepath.Join(w.Home, name), mode: 0o644, Lines: line})
		}
	}
	if slices.Contains(w.Shells, "zsh") {
		all = append(all, Change{Path: filepath.Join(w.zshFolder(), ".zshrc"), mode: 0o644, Lines: line})
	}
	if slices.Contains(w.Shells, "fish") {
		all = append(all, Change{
			Path: filepath.Join(w.configurations(), "fish", "conf.d", "vmux.fish"), Own: true, mode: 0o644,
			Lines: marked + `set -q SSH_CONNECTION; and test -S "$SSH_AUTH_SOCK"; or set -gx SSH_AUTH_SOCK ` + socket + "\n",
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
