package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Names that begin alike are inserted up to where they differ: as words, and not as a command
// that one of them was made to hold. Where they are shown as a list, they stand as they are.
func TestBashQuotesWhatItInserts(t *testing.T) {
	var script strings.Builder
	if err := BashCompletion(&script, Commands(), true); err != nil {
		t.Fatal(err)
	}
	names := "completions=('c $(touch PWN)1' 'c $(touch PWN)2' \"alice's phone\" \"alice's laptop\"); "
	for asked, want := range map[string]string{
		"COMP_TYPE=9 cur=c":  `<c\ \$\(touch\ PWN\)1><c\ \$\(touch\ PWN\)2>`,
		"COMP_TYPE=33 cur=c": `<c\ \$\(touch\ PWN\)1><c\ \$\(touch\ PWN\)2>`,
		"COMP_TYPE=63 cur=c": `<c $(touch PWN)1><c $(touch PWN)2>`,
		"COMP_TYPE=9 cur=al": `<alice\'s\ phone><alice\'s\ laptop>`,
		"COMP_TYPE=9 cur=d":  ``,
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script.String()+"\n"+asked+"; "+names+
			`__vmux_handle_completion_types; for word in "${COMPREPLY[@]}"; do printf '<%s>' "$word"; done`)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %v: %s, want %s", asked, err, out, want)
		}
	}
}

// What stands before the cursor is what the program is asked about, and no command, in whatever
// quotes it was typed.
func TestFishEvaluatesNoName(t *testing.T) {
	var script strings.Builder
	if err := FishCompletion(&script, Commands(), true); err != nil {
		t.Fatal(err)
	}
	const program = `function vmux; printf '<%s>' $argv >asked; end
`
	for typed, want := range map[string]string{
		`vmux phone identity disable 'x (touch PWN)' --`:  `<__complete><phone><identity><disable><x (touch PWN)><-->`,
		`vmux phone identity disable x\ \(touch\ PWN\) a`: `<__complete><phone><identity><disable><x (touch PWN)><a>`,
		`vmux unpair "alice's; touch PWN" `:               `<__complete><unpair><alice's; touch PWN><>`,
		`vmux `:                                           `<__complete><>`,
	} {
		cmd := exec.CommandContext(t.Context(), "fish", "--no-config", "-c", program+script.String()+"\ncomplete -C $argv[1]", typed)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		asked, readErr := os.ReadFile(filepath.Join(cmd.Dir, "asked"))
		files, globErr := filepath.Glob(filepath.Join(cmd.Dir, "*"))
		if err := errors.Join(err, readErr, globErr); err != nil || string(asked) != want || len(files) != 1 {
			t.Errorf("%s: %v: %s, want %s; %v\n%s", typed, err, asked, want, files, out)
		}
	}
}
