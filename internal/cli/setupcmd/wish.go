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

	"vmux/internal/cli/command"
	"vmux/internal/cli/gitcmd"
	"vmux/internal/config"
	"vmux/internal/setup"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// wish is what the flags ask for, but for what depends on the configuration file: --undo
// has to work whatever that says.
func (a *app) wish(f *setupFlags) (setup.Wish, state.Home, error) {
	w := setup.Wish{Parts: f.parts, Shells: f.shells, Packaged: "/usr/lib/systemd/user"}
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
		if !slices.Contains(setup.AllParts, part) {
			return w, home, command.Usagef("--parts accepts %s, not %s", strings.Join(setup.AllParts, ", "), wire.Show(part))
		}
	}
	if len(f.parts) == 0 {
		w.Parts = setup.Parts
	}
	known := []string{"bash", "zsh", "fish"}
	for _, shell := range f.shells {
		if !slices.Contains(known, shell) {
			return w, home, command.Usagef("--shells accepts %s, not %s", strings.Join(known, ", "), wire.Show(shell))
		}
	}
	if shell := filepath.Base(os.Getenv("SHELL")); len(f.shells) == 0 && slices.Contains(known, shell) {
		w.Shells = []string{shell}
	}
	if w.Program, err = installedProgram(); err != nil {
		return w, home, err
	}
	w.Managed, w.Tray = setup.ManagersFolder(w.Home), trayProgram(w.Program)
	for _, name := range []string{"VMUX_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if value := os.Getenv(name); value != "" {
			w.Environment = append(w.Environment, name+"="+value)
		}
	}
	return w, home, nil
}

// settings finds out where `vmux agent` serves when it is started without flags, and
// what is to be added to its configuration file.
func (a *app) settings(ctx context.Context, f *setupFlags, w *setup.Wish, home state.Home, asks bool) (err error) {
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
	if socket, _ := settingOf(there, "socket").Value.(string); socket != "" {
		w.Socket = socket
	}
	wanted := map[string]any{}
	if f.upstream != "" {
		if f.upstream, err = a.rest.Upstream(f.upstream, w.Socket); err != nil {
			return err
		}
		wanted["upstream"] = f.upstream
	}
	if err := a.place(ctx, f, there, asks, wanted); err != nil {
		return err
	}
	w.Upstream = f.upstream
	if before := settingOf(there, "upstream"); w.Upstream == "" && before.Source == config.InFile {
		w.Upstream, _ = before.Value.(string)
	}
	for _, s := range there {
		want, is := wanted[s.Key]
		switch {
		case !is || s.Source == config.InFile && want == s.Value:
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

func settingOf(all []config.Setting, key string) config.Setting {
	i := slices.IndexFunc(all, func(s config.Setting) bool { return s.Key == key })
	if i < 0 {
		return config.Setting{}
	}
	return all[i]
}

// agentSettings are the settings of `vmux agent`, with some given as flags.
func (a *app) agentSettings(given map[string]any) ([]config.Setting, error) {
	root := a.rest.Commands()
	agent, _, err := root.Find([]string{"agent"})
	if err != nil {
		return nil, err
	}
	for name, value := range given {
		if err := agent.Flags().Set(name, fmt.Sprint(value)); err != nil {
			return nil, command.Usagef("--%s: %v", name, err)
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
	if found, err := exec.LookPath("vmux"); err == nil && gitcmd.SameFile(found, self) {
		return filepath.Abs(found)
	}
	return self, nil
}

// trayProgram is vmux-tray beside this program or on PATH, if there is a desktop that no
// package has told of it.
func trayProgram(program string) string {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	const name = "vmux-tray"
	for _, folder := range filepath.SplitList(cmp.Or(os.Getenv("XDG_CONFIG_DIRS"), "/etc/xdg")) {
		if exists(filepath.Join(folder, "autostart", name+".desktop")) {
			return ""
		}
	}
	beside := filepath.Join(filepath.Dir(program), name)
	if _, err := exec.LookPath(beside); err == nil {
		return beside
	}
	found, err := exec.LookPath(name)
	if err != nil || !filepath.IsAbs(found) {
		return ""
	}
	return found
}

// wrongUser tells who uses sudo whose account this is.
func (a *app) wrongUser() {
	if other := os.Getenv("SUDO_USER"); os.Geteuid() == 0 && other != "" && other != "root" {
		a.Say("this is for root, and not for %s", wire.Show(other))
		a.Hint("vmux setup, without sudo, is for yourself")
	}
}
