package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/wire"
)

func newConfigCommand(a *app) *cobra.Command {
	var file string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "config",
		Short: "Show each setting, and where its value comes from",
		Long: `Everything that is a flag of "vmux agent" and "vmux phone run" can stand in the
configuration file, below [agent] and [phone], by the flag's name:

  [agent]
  hub = "https://hub.example.com"
  approval-timeout = "90s"
  max-keys = 0
  lan = false

A flag that is given wins. The file is config.toml in $XDG_CONFIG_HOME/vmux or
~/.config/vmux (macOS: ~/Library/Application Support/vmux), and in $VMUX_HOME if
that is set. It is read at the start of the two programs, which never change it.
Flags of an agent that runs now are told beside its settings.

Shows what holds for a program that is started now, without flags, as a file of
the same form. An unknown or wrong setting is told with its line: exit status 2.`,
		Example: "  vmux config\n  vmux config --config FILE\n  vmux config --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			running, _ := command.Client().Status(cmd.Context()) // if none runs, it has no flags
			return a.showConfig(config.Of(cmd.Root()), file, running.Flags)
		},
	})
	cmd.Flags().StringVar(&file, "config", "", "read `FILE` in place of the configuration file; none shows the defaults")
	return cmd
}

// configAnswer is the answer of `vmux config --json`.
type configAnswer struct {
	File     string           `json:"file"`  // empty with --config none
	Found    bool             `json:"found"` // whether there is such a file
	Settings []config.Setting `json:"settings"`
	// Running are the flags of the agent that runs now, which win for it.
	Running map[string]string `json:"running,omitempty"`
}

func (a *app) showConfig(commands []*config.Command, file string, running map[string]string) error {
	all := configAnswer{Running: running}
	for _, c := range commands {
		if err := c.Load(file); err != nil {
			return err
		}
		all.File, all.Found = c.File()
		all.Settings = append(all.Settings, c.Settings()...)
	}
	return a.Answer(all, func() error {
		if all.File != "" && !all.Found {
			a.Say("there is no %s: these are the defaults", wire.Show(all.File))
		}
		return a.Text(configText(all))
	})
}

// configText is the settings as a file that says the same, with comments that tell
// where each is from.
func configText(all configAnswer) string {
	var b strings.Builder
	table := ""
	for _, s := range all.Settings {
		if s.Table != table {
			if table != "" {
				b.WriteByte('\n')
			}
			table = s.Table
			fmt.Fprintf(&b, "[%s]\n", table)
		}
		from := "default"
		if s.Source == config.InFile {
			from = fmt.Sprintf("%s:%d", wire.Show(all.File), s.Line)
		}
		if flag, given := all.Running[s.Key]; given && s.Table == config.TableAgent {
			from += "; the agent that runs has --" + s.Key + " " + command.ShellWord(wire.Show(flag))
		}
		fmt.Fprintf(&b, "%-36s # %s\n", s.TOML(), from)
	}
	return b.String()
}
