package setupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/serveraccess"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

// firstLogin logs in to a server by the person's own ssh, as they have it, and says what
// is missing.
func (a *app) firstLogin(ctx context.Context, target string, asks bool) error {
	if target == "" && asks {
		target = a.Asked(ctx, "A server to log in to now, as user@host (Enter: none): ")
	}
	if target == "" {
		return ctx.Err()
	}
	err := a.login(ctx, target)
	if asks && errors.Is(err, errNoKeyThere) && a.Confirmed(ctx, command.Sentence(err)+". Put it there, by the way that you log in today?") {
		if err := a.trusted(ctx, target); err != nil {
			return err
		}
		err = a.login(ctx, target)
	}
	return err
}

// errNoKeyThere is a server's that takes none of the phone's keys.
var errNoKeyThere = errors.New("takes none of the phone's keys")

// login is `ssh target true`, with ssh's own log kept apart from what it asks.
func (a *app) login(ctx context.Context, target string) error {
	dir, err := os.MkdirTemp("", "vmux-setup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "log")
	ssh := exec.CommandContext(ctx, "ssh", slices.Concat([]string{"-v", "-E", file, "-o", "PreferredAuthentications=publickey"},
		sshconfig.OneCommand, serveraccess.Sessions(ctx, "", target), []string{"--", target, "true"})...)
	ssh.Stdin, ssh.Stderr = a.In, a.Err
	began := time.Now()
	a.Say("logging in to %s", wire.Show(target))
	runs := ssh.Run()
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("run ssh: %w", errors.Join(runs, err))
	}
	s, err := command.Client().Status(ctx)
	if err != nil {
		return err
	}
	log := string(text)
	taken, in := serveraccess.Accepted(log)
	if !in && !strings.Contains(log, "with partial success") { // AuthenticationMethods
		return whyNot(target, log, s, began)
	}
	for _, id := range s.Identities {
		switch {
		case len(taken) == 0 || id.Fingerprint != taken[len(taken)-1]:
		case !in:
			a.Say("%s takes the phone's key %s, and wants more than a key: ssh %s asks for it", wire.Show(target), wire.Show(id.Comment), command.ShellWord(target))
			return nil
		case id.Certificate:
			a.Say("logged in to %s by the session certificate, which asks nobody", wire.Show(target))
			return nil
		default:
			a.Say("logged in to %s by the phone's key %s", wire.Show(target), wire.Show(id.Comment))
			return nil
		}
	}
	if !offered(log, s) {
		return notOffered(target)
	}
	return command.WithHint(fmt.Errorf("%s %w, and let in another key", wire.Show(target), errNoKeyThere), "%s", trustHint(target))
}

// offered reports whether ssh has offered a key of the phone's.
func offered(log string, s control.Status) bool {
	for line := range strings.Lines(log) {
		for _, id := range s.Identities {
			if strings.HasPrefix(line, "debug1: Offering public key: ") && strings.Contains(line, id.Fingerprint) {
				return true
			}
		}
	}
	return false
}

func notOffered(target string) error {
	return command.WithHint(fmt.Errorf("%s was offered no key of the phone's", wire.Show(target)), "vmux doctor --host %s", command.ShellWord(target))
}

// whyNot finds the first thing that kept a login from being one.
func whyNot(target, log string, s control.Status, began time.Time) error {
	if failed := s.LastFailure; failed != nil && failed.Kind == "sign" && failed.At.After(began) {
		return command.WithHint(errors.New(failed.Sentence), "%s", failed.Hint)
	}
	last := cmp.Or(serveraccess.LastWords(log), "ssh says nothing")
	switch denied := strings.Contains(last, "Permission denied"); {
	case denied && offered(log, s):
		return command.WithHint(fmt.Errorf("%s %w", wire.Show(target), errNoKeyThere), "%s", trustHint(target))
	case denied:
		return notOffered(target)
	}
	return command.WithHint(fmt.Errorf("no login to %s: %s", wire.Show(target), last), "ssh %s, until it works; then vmux setup --login %s",
		command.ShellWord(target), command.ShellWord(target))
}

// trustHint tells a server of the phone's keys.
func trustHint(target string) string { return "vmux server trust " + command.ShellWord(target) }

// trusted runs that on this terminal.
func (a *app) trusted(ctx context.Context, target string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "server", "trust", target)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	if err := cmd.Run(); err != nil {
		return command.WithHint(fmt.Errorf("the key is not there: %w", err), "%s", trustHint(target))
	}
	return nil
}
