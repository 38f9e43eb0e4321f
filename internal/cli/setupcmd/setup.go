// Package setupcmd is `vmux setup`: it asks, shows and tells; package setup writes.
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

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/setup"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// setupFlags are the flags of `vmux setup`.
type setupFlags struct {
	undo, yes     bool
	parts, shells []string
	hub, upstream string
}

// Rest is what setup needs of the other commands.
type Rest struct {
	// Commands makes the whole tree of commands.
	Commands func() *cobra.Command
	// Upstream checks the socket of an upstream agent beside the agent's own.
	Upstream func(upstream, own string) (string, error)
}

// app is what every command of this package works with.
type app struct {
	*command.IO
	rest Rest
}

// New makes `vmux setup`.
func New(io *command.IO, rest Rest) *cobra.Command {
	a := &app{io, rest}
	var f setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Tell ssh, the desktop and your shell of vmux, and start it at login",
		Long: `Writes what docs/login-service.md tells to write by hand:

  config       what --hub and --upstream say, in the configuration file
  ssh          ~/.ssh/config.d/vmux.conf, and an Include of it at the end of
               ~/.ssh/config: hosts for which you name an agent keep it
  service      two user units of systemd: the agent is there from the login on
  environment  ~/.config/environment.d/vmux.conf, for what the desktop starts
               (service and environment on Linux only)
  shell        a line in ~/.bashrc or ~/.zshrc, or a file of fish's

Every change is shown before any is made, and nothing is changed twice. A record
of what was written is kept, and --undo takes exactly that out, byte for byte:
what you wrote meanwhile stays. Files that cannot be written to are left alone.`,
		Example: `  vmux setup
  vmux setup --hub https://hub.example
  vmux setup --yes --parts ssh,service
  vmux setup --undo`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wish, home, err := a.wish(&f)
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
			return a.setUp(cmd.Context(), record, wish, f.yes)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.undo, "undo", false, "take out what setup has written")
	flags.BoolVar(&f.yes, "yes", false, "make the changes without asking; no terminal is needed")
	flags.StringVar(&f.hub, "hub", "", "the agent's `HUB` from now on: its URL, local, or none")
	flags.StringVar(&f.upstream, "upstream", "", "`SOCKET` of another SSH agent, whose keys stay in reach through vmux from now on")
	flags.StringSliceVar(&f.parts, "parts", nil, "`PARTS` to set up: "+strings.Join(setup.Parts, ",")+" (default all that there are here)")
	flags.StringSliceVar(&f.shells, "shells", nil, "`SHELLS` to tell: bash, zsh, fish (default the one of $SHELL)")
	return cmd
}

// wish is what the flags ask for, with the agent's socket as the configuration file
// has it.
func (a *app) wish(f *setupFlags) (setup.Wish, state.Home, error) {
	w := setup.Wish{Parts: f.parts, Shells: f.shells}
	home, err := state.Find()
	if err != nil {
		return w, home, err
	}
	if w.Home, err = os.UserHomeDir(); err != nil {
		return w, home, command.WithHint(err, "set HOME to your home folder")
	}
	if err := setup.CheckOwner(w.Home); err != nil {
		return w, home, err
	}
	for _, part := range f.parts {
		if !slices.Contains(setup.Parts, part) {
			return w, home, command.Usagef("--parts accepts %s, not %s", strings.Join(setup.Parts, ", "), wire.Show(part))
		}
	}
	if len(f.parts) == 0 {
		w.Parts = setup.Parts
	}
	if err := f.checkShells(&w); err != nil {
		return w, home, err
	}
	if !f.undo { // which has to work whatever the file says
		if err := a.settings(f, &w, home); err != nil {
			return w, home, err
		}
	}
	if w.Program, err = installedProgram(); err != nil {
		return w, home, err
	}
	for _, name := range []string{"VMUX_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if value := os.Getenv(name); value != "" {
			w.Environment = append(w.Environment, name+"="+value)
		}
	}
	return w, home, nil
}

func (f *setupFlags) checkShells(w *setup.Wish) error {
	known := []string{"bash", "zsh", "fish"}
	for _, shell := range f.shells {
		if !slices.Contains(known, shell) {
			return command.Usagef("--shells accepts %s, not %s", strings.Join(known, ", "), wire.Show(shell))
		}
	}
	if shell := filepath.Base(os.Getenv("SHELL")); len(f.shells) == 0 && slices.Contains(known, shell) {
		w.Shells = []string{shell}
	}
	return nil
}

// settings finds out where `vmux agent` serves when it is started without flags, and
// what is to be added to its configuration file.
func (a *app) settings(f *setupFlags, w *setup.Wish, home state.Home) (err error) {
	if w.Socket, err = home.AgentSocket(); err != nil {
		return err
	}
	if w.ConfigFile, err = home.ConfigFile(); err != nil {
		return err
	}
	there, err := a.agentSettings(nil)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(there, func(s config.Setting) bool { return s.Key == "socket" }); i >= 0 {
		socket, _ := there[i].Value.(string)
		w.Socket = cmp.Or(socket, w.Socket)
	}
	if f.upstream != "" {
		if below, ok := strings.CutPrefix(f.upstream, "~/"); ok { // as no shell expands it behind a =
			f.upstream = filepath.Join(w.Home, below)
		}
		if f.upstream, err = a.rest.Upstream(f.upstream, w.Socket); err != nil {
			return err
		}
	}
	wanted := map[string]string{"hub": f.hub, "upstream": f.upstream}
	w.Upstream = f.upstream
	for _, s := range there {
		value, _ := s.Value.(string)
		switch want := wanted[s.Key]; {
		case s.Key == "upstream" && value != "" && s.Source == config.InFile && want == "":
			w.Upstream = value
		case want == "" || want == value && s.Source == config.InFile:
		case s.Source == config.InFile:
			return command.Usage(fmt.Sprintf("%s:%d has %s already", w.ConfigFile, s.Line, s.TOML()), "change that line yourself")
		default:
			s.Value = want
			w.Config = append(w.Config, s.TOML())
		}
	}
	_, err = a.agentSettings(wanted) // are they right?
	return err
}

// agentSettings are the settings of `vmux agent`, with some given as flags.
func (a *app) agentSettings(given map[string]string) ([]config.Setting, error) {
	root := a.rest.Commands()
	agent, _, err := root.Find([]string{"agent"})
	if err != nil {
		return nil, err
	}
	for name, value := range given {
		if value != "" {
			if err := agent.Flags().Set(name, value); err != nil {
				return nil, command.Usagef("--%s: %v", name, err)
			}
		}
	}
	for _, c := range config.Of(root) {
		if c.Table == config.TableAgent {
			if err := c.Load(""); err != nil {
				return nil, err
			}
			return c.Settings(), nil
		}
	}
	return nil, errors.New("vmux agent has no settings")
}

// installedProgram is the path by which a service starts this program: as PATH has it,
// since a path with its symbolic links resolved would lead to a version that goes.
func installedProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	found, err := exec.LookPath("vmux")
	if err != nil {
		return self, nil
	}
	one, err := os.Stat(found)
	other, err2 := os.Stat(self)
	if err == nil && err2 == nil && os.SameFile(one, other) {
		return filepath.Abs(found)
	}
	return self, nil
}

func (a *app) setUp(ctx context.Context, record *setup.Record, wish setup.Wish, yes bool) error {
	if slices.Contains(wish.Parts, setup.PartService) {
		if err := setup.HasServices(); err != nil {
			a.Say("%v: it is left out", setup.ErrNoServices)
			a.Hint("have `%s agent` started at login by what does that here", wish.Program)
			wish.Parts = slices.DeleteFunc(slices.Clone(wish.Parts), func(part string) bool { return part == setup.PartService })
		}
	}
	plan, left, err := record.Plan(wish)
	if err != nil {
		return err
	}
	for _, c := range plan {
		a.Say("%s", wire.Show(c.What()))
		a.Aside(indented(c.Lines))
		if c.Unit != "" {
			if err := noOtherAgent(); err != nil {
				return err
			}
		}
	}
	if len(plan) > 0 && !yes {
		switch {
		case !a.Interactive():
			return command.Usage("nothing is changed: there is no terminal to ask on", "vmux setup --yes makes the changes")
		case !a.Confirmed(ctx, "Make these changes?"):
			return errors.New("nothing is changed")
		}
	}
	for _, c := range plan {
		if err := record.Make(c); err != nil {
			return command.OrHint(fmt.Errorf("%s: %w", c.What(), err), "vmux setup --undo takes out what was written so far")
		}
	}
	if len(plan) == 0 && len(left) == 0 {
		a.Say("all of it is there already")
	}
	for _, l := range left {
		a.Say("%s %s; it is left alone, and would get:", wire.Show(l.Path), l.Why)
		a.Aside(indented(l.Text))
	}
	if err := a.written(ctx, plan); err != nil {
		return err
	}
	a.whoWins(ctx, wish)
	return nil
}

// written reads the configuration file again, and says when what was written counts.
func (a *app) written(ctx context.Context, plan []setup.Change) error {
	if !slices.ContainsFunc(plan, setup.Change.Restarts) {
		return nil
	}
	if _, err := a.agentSettings(nil); err != nil {
		return command.WithHint(fmt.Errorf("what was added does not fit there: %w", err), "vmux setup --undo takes it out; then write it yourself")
	}
	if slices.ContainsFunc(plan, setup.Change.MovesSocket) { // which would be the old one if the agent alone were started again
		a.Say("the socket is where it was until it is started again")
		a.Hint("systemctl --user stop vmux-agent.service && systemctl --user restart vmux-agent.socket vmux-agent.service")
	} else if _, err := command.Client().Status(ctx); err == nil {
		a.Say("for the agent that runs this counts when it is started again")
		a.Hint("systemctl --user restart vmux-agent, or end and start it as you did")
	}
	return nil
}

// noOtherAgent refuses to start the service beside an agent that a person has started:
// it could not have the state folder.
func noOtherAgent() error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	dir, err := home.Agent()
	if err != nil {
		return err
	}
	release, err := dir.Own("vmux setup")
	if errors.As(err, new(*state.Owned)) {
		return command.WithHint(err, "end that agent, then vmux setup again; or vmux setup --parts without service")
	}
	if err == nil {
		release()
	}
	return err
}

// whoWins says which other agents there are, and where one stands before vmux.
func (a *app) whoWins(ctx context.Context, wish setup.Wish) {
	for _, other := range wish.Agents(ctx) {
		a.Say("%s answers, too, at %s", other.Name, wire.Show(other.Socket))
		if wish.Upstream == "" {
			a.Hint("vmux setup --upstream %s keeps its keys in reach of what asks vmux", wire.Show(other.Socket))
		}
	}
	if slices.Contains(wish.Parts, setup.PartSSH) {
		other := identityAgent(ctx)
		if below, ok := strings.CutPrefix(other, "~/"); ok {
			other = filepath.Join(wish.Home, below)
		}
		if other != "" && other != wish.Socket {
			a.Say("ssh asks another agent, which its configuration names first: %s", wire.Show(other))
			a.Hint("take that IdentityAgent out, or set it for single hosts only; `ssh -G` of a host tells which one it asks")
		}
	}
	switch now := os.Getenv("SSH_AUTH_SOCK"); {
	case !slices.Contains(wish.Parts, setup.PartShell):
	case len(wish.Shells) == 0:
		a.Say("no shell is told of vmux: SHELL names none of bash, zsh and fish")
		a.Hint("vmux setup --shells bash,zsh tells those that you use")
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

func (a *app) undoSetup(record *setup.Record) error {
	if record.Empty() {
		a.Say("setup has written nothing that is still there")
		return nil
	}
	left, err := record.Undo(func(path string) { a.Say("taken out: %s", wire.Show(path)) })
	for _, l := range left {
		a.Say("%s %s; of setup's there was:", wire.Show(l.Path), l.Why)
		a.Aside(indented(l.Text))
	}
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return command.WithHint(fmt.Errorf("%s left", command.Counted(len(left), "file")), "take these lines out by hand, then vmux setup --undo")
	}
	return nil
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimLeft(line, " ")
		b.WriteString("    " + line[:len(line)-len(text)] + wire.Show(text) + "\n")
	}
	return b.String()
}
