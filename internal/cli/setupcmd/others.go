package setupcmd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmux/internal/cli/command"
	"vmux/internal/setup"
	"vmux/internal/wire"
)

// whoWins says which other agents there are, and where one stands before vmux; left is what
// could not be written.
func (a *app) whoWins(ctx context.Context, wish setup.Wish, left []setup.Left) {
	for _, other := range wish.Agents(ctx) {
		a.Say("%s answers, too, at %s", other.Name, wire.Show(other.Socket))
		if wish.Upstream == "" {
			a.Hint("vmux setup --upstream %s keeps its keys in reach of what asks vmux", command.ShellWord(other.Socket))
		}
		if strings.HasPrefix(other.Name, "GNOME") && slices.Contains(wish.Parts, setup.PartEnvironment) && !slices.Contains(wish.Parts, setup.PartService) {
			a.Say("it names itself to the desktop's programs, whatever environment.d says")
			a.Hint("systemctl --user mask gcr-ssh-agent.socket gcr-ssh-agent.service, and log in anew")
		}
	}
	if slices.Contains(wish.Parts, setup.PartSSH) {
		other := identityAgent(ctx)
		if below, ok := strings.CutPrefix(other, "~/"); ok {
			other = filepath.Join(wish.Home, below)
		}
		if other != "" && other != wish.Socket && other != "SSH_AUTH_SOCK" && other != "$SSH_AUTH_SOCK" {
			a.Say("ssh asks another agent, which its configuration names first: %s", wire.Show(other))
			a.Hint("take that IdentityAgent out, or set it for single hosts only; `ssh -G` of a host tells which one it asks")
		}
	}
	switch now := os.Getenv("SSH_AUTH_SOCK"); {
	case !slices.Contains(wish.Parts, setup.PartShell):
	case len(wish.Shells) == 0:
		a.Say("no shell is told of vmux: SHELL names none of bash, zsh and fish")
		a.Hint("vmux setup --shells bash,zsh tells those that you use")
	case os.Getenv("SSH_CONNECTION") != "" && exists(now):
		a.Say("this login keeps the agent that was forwarded with it; others have vmux's")
	case slices.ContainsFunc(left, func(l setup.Left) bool { return strings.Contains(l.Text, "SSH_AUTH_SOCK") }):
		a.Say("SSH_AUTH_SOCK in this terminal is %s, and in new ones whose file was left alone", wire.Show(orNotSet(now)))
	case now != wish.Socket:
		a.Say("SSH_AUTH_SOCK in this terminal is %s; new ones have vmux's", wire.Show(orNotSet(now)))
	}
}

// orNotSet is an environment variable's value as it is told.
func orNotSet(value string) string {
	if value == "" {
		return "not set"
	}
	return value
}

// identityAgent is the agent that ssh asks for a host that no configuration names, as
// ssh says itself; empty if there is none or it cannot be told.
func identityAgent(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-G", "vmux-setup.invalid").Output()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if path, ok := strings.CutPrefix(line, "identityagent "); ok {
			return strings.TrimSpace(strings.ReplaceAll(path, "%%", "%"))
		}
	}
	return ""
}
