package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command has a manual page, which groff sets without a warning and which has
// the command's flags.
func TestManualPages(t *testing.T) {
	man := t.TempDir()
	if out, err := exec.Command("go", "-C", "../../tools", "run", "./man", man, t.TempDir()).CombinedOutput(); err != nil {
		t.Fatalf("make man: %v\n%s", err, out)
	}
	folder := filepath.Join(man, "man1")
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
				visit(sub)
			}
		}
		page := filepath.Join(folder, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		set := exec.Command("groff", "-k", "-man", "-Tutf8", "-ww", "-P-cbou", "-rLL=200n", page)
		var warnings strings.Builder
		set.Stderr = &warnings
		text, err := set.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("groff %s: %v: %s (make setup installs it)", page, err, &warnings)
		}
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			if _, flag, ok := strings.Cut(strings.Fields(line)[0], "--"); ok && !strings.Contains(string(text), "--"+flag) {
				t.Errorf("the page of %s has no --%s:\n%s", cmd.CommandPath(), flag, text)
			}
		}
	}
	visit(Commands())
	if pages, err := os.ReadDir(folder); err != nil || len(pages) < 50 {
		t.Errorf("%d pages, %v", len(pages), err)
	}
}
