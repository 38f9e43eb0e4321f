package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/config"
)

// A flag of one of the two programs is a setting, whatever its kind, and the page for
// users has it: one that is added cannot be forgotten.
func TestEveryFlagIsASetting(t *testing.T) {
	page := read(t, "docs/configuration.md")
	root := Commands()
	commands := config.Of(root)
	if len(commands) != 2 {
		t.Fatalf("%d commands have settings", len(commands))
	}
	var all configAnswer
	for _, c := range commands {
		if err := c.Load("none"); err != nil {
			t.Fatal(err)
		}
		all.Settings = append(all.Settings, c.Settings()...)
	}
	tables := map[string]*cobra.Command{config.TableAgent: find(t, root, "agent"), config.TablePhone: find(t, root, "phone", "run")}
	for table, cmd := range tables {
		_, section, _ := strings.Cut(page, "## Settings of ["+table+"]\n")
		section, _, _ = strings.Cut(section, "\n## ")
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			setting := false
			for _, s := range all.Settings {
				setting = setting || s.Table == table && s.Key == f.Name
			}
			if listed := strings.Contains(section, "\n| `"+f.Name+"` |"); setting != listed || setting == (f.Name == "config" || f.Name == "help") {
				t.Errorf("%s --%s: setting %v, in docs/configuration.md %v", cmd.CommandPath(), f.Name, setting, listed)
			}
		})
	}
	// What `vmux config` shows of all of them is read as it is.
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(configText(all)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range config.Of(Commands()) {
		if err := c.Load(path); err != nil {
			t.Errorf("%v\n%s", err, configText(all))
		}
		for _, s := range c.Settings() {
			if s.Source != config.InFile {
				t.Errorf("[%s] %s is not taken from the file", s.Table, s.Key)
			}
		}
	}
}

func find(t *testing.T, root *cobra.Command, words ...string) *cobra.Command {
	t.Helper()
	cmd, rest, err := root.Find(words)
	if err != nil || len(rest) > 0 {
		t.Fatalf("vmux %v: %v", words, err)
	}
	return cmd
}
