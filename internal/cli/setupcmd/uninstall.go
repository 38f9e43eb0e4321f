package setupcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/cli/gitcmd"
	"vmux/internal/control"
	"vmux/internal/setup"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// removable are what `vmux uninstall` can take away, in the order in which it does:
// phones are told while the agent runs, and it ends with its service.
var removable = []string{"phones", "setup", "git", "agent", "hub", "phone", "config"}

// NewUninstall makes `vmux uninstall`.
func NewUninstall(io *command.IO, rest Rest) *cobra.Command {
	a := &app{io, rest}
	var remove []string
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Say what is left of vmux on this computer and elsewhere, and remove it",
		Long: `Lists what there is of vmux, a line each: the paired phones, what vmux setup and
vmux git setup have written, the folders of agent, hub and phone, the
configuration file, the keys that servers may know, and the program. On a
terminal it asks for each whether to remove it; else it removes what --remove
names, and nothing without it. The folder "phone" has private keys: they are gone
with it. Servers and the program itself are left to you.`,
		Example: "  vmux uninstall\n  vmux uninstall --remove phones,setup,agent",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range remove {
				if !slices.Contains(removable, name) {
					return command.Usagef("--remove accepts %s, not %s", strings.Join(removable, ", "), wire.Show(name))
				}
			}
			return a.uninstall(cmd.Context(), remove)
		},
	}
	cmd.Flags().StringSliceVar(&remove, "remove", nil, "`PARTS` to remove without asking: "+strings.Join(removable, ","))
	return cmd
}

// remains is something of vmux's that there is.
type remains struct {
	name, says string
	question   string
	remove     func() error
}

func (a *app) uninstall(ctx context.Context, remove []string) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	record, err := setup.Open(home)
	if err != nil {
		return err
	}
	defer record.Close()
	s, running := command.Client().Status(ctx)
	all, err := a.remains(ctx, home, record, s)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := a.Line("%-8s %s", r.name, r.says); err != nil {
			return err
		}
	}
	for _, id := range s.Identities {
		if !id.Certificate {
			if err := a.Line("%-8s %s %s", "servers", id.PublicKey, wire.Show(id.Comment)); err != nil {
				return err
			}
		}
	}
	if running != nil && !errors.Is(running, control.ErrNotRunning) {
		a.Say("%v, so that the phones and their keys are not known", running)
	} else if running != nil {
		a.Say("the agent does not run, so that the phones and their keys are not known")
	}
	if program, err := installedProgram(); err == nil {
		if err := a.Line("%-8s %s", "program", wire.Show(program)); err != nil {
			return err
		}
	}
	var failed error
	for _, r := range all {
		if slices.Contains(remove, r.name) || len(remove) == 0 && a.Interactive() && a.Confirmed(ctx, r.question) {
			failed = errors.Join(failed, r.remove())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if len(all) > 0 {
		a.Say("servers keep the keys: take them out of authorized_keys there, and the CA out of TrustedUserCAKeys")
	}
	if failed == nil && record.Empty() {
		record.Close()
		failed = os.RemoveAll(filepath.Join(home.Path(), "setup")) // its folder
		_ = os.Remove(home.Path())                                 // that of all, if nothing else is in it
	}
	return failed
}

// remains finds what there is to remove.
func (a *app) remains(ctx context.Context, home state.Home, record *setup.Record, s control.Status) (all []remains, err error) {
	var names []string
	for _, p := range s.Phones {
		names = append(names, wire.Show(p.Name))
	}
	if len(names) > 0 {
		list := strings.Join(names, ", ")
		all = append(all, remains{"phones", list, "End the pairing with " + list + "?", func() error { return a.unpair(ctx, s.Phones) }})
	}
	if !record.Empty() {
		all = append(all, remains{"setup", command.Counted(len(record.Entries), "change") + " by vmux setup", "Take back what vmux setup has written?",
			func() error { return a.undoSetup(record) }})
	}
	agent := filepath.Join(home.Path(), "agent")
	if exists(agent) && gitcmd.Written(ctx) {
		all = append(all, remains{"git", "git's configuration, by vmux git setup", "Take back what vmux git setup has written?",
			func() error { return gitcmd.Undo(ctx, a.IO) }})
	}
	for _, f := range []struct {
		name, question string
		open           func() (*state.Dir, error)
	}{
		{"agent", "Remove what the agent keeps of phones and servers?", home.Agent},
		{"hub", "Remove what the hub keeps, its CA too?", home.Hub},
		{"phone", "Remove THE PRIVATE KEYS of this machine's vmux phone, for good?", home.Phone},
	} {
		path := filepath.Join(home.Path(), f.name)
		if exists(path) {
			all = append(all, remains{f.name, wire.Show(path), f.question, func() error { return a.removeFolder(home, f.name, f.open) }})
		}
	}
	config, err := home.ConfigFile()
	if err == nil && exists(config) {
		all = append(all, remains{"config", wire.Show(config), "Remove the configuration file?", func() error {
			if err := os.Remove(config); !errors.Is(err, os.ErrNotExist) { // setup may have taken it back
				return err
			}
			return nil
		}})
	}
	return all, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (a *app) unpair(ctx context.Context, phones []control.Device) error {
	var failed error
	for _, p := range phones {
		_, err := command.Client().Unpair(ctx, p.ID)
		if failed = errors.Join(failed, err); err == nil {
			a.Say("unpaired %s", wire.Show(p.Name))
		}
	}
	return failed
}

// removeFolder removes a state folder that no program has open.
func (a *app) removeFolder(home state.Home, name string, open func() (*state.Dir, error)) error {
	dir, err := open()
	if err != nil {
		return err
	}
	release, err := dir.Own("vmux uninstall")
	if err != nil {
		return command.WithHint(err, "end it, then vmux uninstall again")
	}
	err = os.RemoveAll(dir.Path())
	if name == "agent" { // its socket's lock, and the certificate's file, lie elsewhere
		for _, path := range a.besideAgent(home) {
			_ = os.Remove(path)
		}
	}
	release()
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir.Path(), err)
	}
	a.Say("removed: %s", wire.Show(dir.Path()))
	return nil
}

// besideAgent are the files of an agent that lie outside of its folder.
func (a *app) besideAgent(home state.Home) (files []string) {
	if path, err := home.CertificateFile(); err == nil {
		files = append(files, path)
	}
	socket, err := home.AgentSocket()
	if there, wrong := a.agentSettings(nil); wrong == nil {
		if path, _ := settingOf(there, "socket").Value.(string); path != "" {
			socket, err = path, nil
		}
	}
	if err == nil {
		files = append(files, socket+".lock")
	}
	return files
}
