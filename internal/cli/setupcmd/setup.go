// Package setupcmd is `vmux setup` and `vmux uninstall`: they ask, show and tell; package
// setup writes.
package setupcmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/setup"
)

// Rest is what setup needs of the other commands.
type Rest struct {
	// Commands makes the whole tree of commands.
	Commands func() *cobra.Command
	// Upstream checks the socket of an upstream agent beside the agent's own.
	Upstream func(upstream, own string) (string, error)
	// Pair is `vmux pair`.
	Pair func(ctx context.Context) error
}

// app is what every command of this package works with.
type app struct {
	*command.IO
	rest Rest
}

// setupFlags are the flags of `vmux setup`.
type setupFlags struct {
	undo, yes, pair, git  bool
	parts, shells         []string
	hub, upstream, hubURL string
	phone, login          string
}

// New makes `vmux setup`.
func New(io *command.IO, rest Rest) *cobra.Command {
	a := &app{io, rest}
	var f setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set up this computer: ssh, shell, desktop, service, phone, git, first login",
		Long: `Asks where the phone is, writes what docs/login-service.md tells to write by hand,
pairs the phone, and tries a login to a server of your choice:

  config       where the phone is, --hub and --upstream, in the configuration file
  ssh          ~/.ssh/config.d/.vmux.conf, and an Include of it at the end of
               ~/.ssh/config: hosts for which you name an agent keep it
  service      user units of systemd, agents of launchd: vmux agent at login
  environment  ~/.config/environment.d/vmux.conf, or launchctl setenv, for what
               the desktop starts
  shell        a line in the file that bash or zsh reads, or a file of fish's
  tray         vmux-tray at login, if it is installed and there is a desktop
  git          with --git, or if you want it: an include in git's own file
  phone        if --parts names it, on a machine that is the phone: vmux phone run
               at login, which asks at vmux phone attach

Every change is shown before any is made, and nothing is changed twice. A record
of what was written is kept, and --undo takes exactly that out, byte for byte:
what you wrote meanwhile stays. Files that cannot be written to are left alone.

Without a terminal, and with --parts, nothing is asked: each step has its flag.`,
		Example: `  vmux setup
  vmux setup --phone server --hub https://hub.example
  vmux setup --yes --parts ssh,service
  vmux setup --yes --phone machine --pair --git --login alice@web-1
  vmux setup --parts phone
  vmux setup --undo`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.undo, "undo", false, "take out what setup has written")
	flags.BoolVar(&f.yes, "yes", false, "make the changes without asking; no terminal is needed")
	flags.StringVar(&f.phone, "phone", "", "`WHERE` the phone is: "+strings.Join(placeNames(), ", "))
	flags.StringVar(&f.hub, "hub", "", "the agent's `HUB` from now on: its URL, local, or none")
	flags.StringVar(&f.hubURL, "hub-url", "", "with --phone tailscale: the `URL` of this computer (default what tailscale says)")
	flags.StringVar(&f.upstream, "upstream", "", "`SOCKET` of another SSH agent, whose keys stay in reach through vmux from now on")
	flags.StringSliceVar(&f.parts, "parts", nil, "`PARTS` to set up: "+strings.Join(setup.AllParts, ",")+" (default all that there are here, but for phone)")
	flags.StringSliceVar(&f.shells, "shells", nil, "`SHELLS` to tell: bash, zsh, fish (default the one of $SHELL)")
	flags.BoolVar(&f.pair, "pair", false, "invite a phone, as vmux pair does, if none is paired")
	flags.BoolVar(&f.git, "git", false, "have git sign with the phone's first key, where git signs with no other")
	flags.StringVar(&f.login, "login", "", "then log in to `USER@HOST`, and say what is missing")
	return cmd
}

func (a *app) run(ctx context.Context, f setupFlags) error {
	w, home, err := a.wish(&f)
	if err != nil {
		return err
	}
	record, err := setup.Open(home)
	if err != nil {
		return err
	}
	defer record.Close()
	if f.undo {
		return a.undoSetup(record)
	}
	asks := a.Interactive() && !f.yes && len(f.parts) == 0
	if err := a.settings(ctx, &f, &w, home, asks); err != nil {
		return err
	}
	a.wrongUser()
	started, err := a.setUp(ctx, record, &w, f.yes)
	further := f.pair || f.git || f.login != ""
	switch {
	case errors.Is(err, errStale) && !further, err == nil && !further && !asks:
		return nil
	case err != nil:
		return err
	}
	return a.firstSteps(ctx, f, record, w, asks, started)
}

// firstSteps lead from an agent that runs to the first login.
func (a *app) firstSteps(ctx context.Context, f setupFlags, record *setup.Record, w setup.Wish, asks, started bool) error {
	s, err := a.agentAnswers(ctx, started)
	if err != nil && !f.pair && !f.git && f.login == "" {
		a.Say("no agent runs yet, so that no phone is paired")
		a.Hint("%s agent, and then in another terminal: vmux setup", command.ShellWord(w.Program))
		return nil
	}
	if err != nil {
		return err
	}
	if s, err = a.paired(ctx, s, f.pair || asks, asks); err != nil {
		return err
	}
	if err := a.gitSigns(ctx, f, record, w, s, asks); err != nil {
		return err
	}
	return a.firstLogin(ctx, f.login, asks)
}
