package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The README's table is the program's table.
func TestReadmeHasTheErrorCodes(t *testing.T) {
	want := "| code | what you read | what to do | exit |\n|---|---|---|---|\n"
	for _, m := range wire.Meanings {
		want += fmt.Sprintf("| `%s` | %s | %s | %d |\n", m.Code, m.Sentence, m.Hint, m.Exit)
	}
	if !strings.Contains(read(t, "README.md"), want+"\n") {
		t.Errorf("the table in README.md differs from wire.Meanings, which make it:\n%s", want)
	}
}

// So does the table of what the agent itself says, and that of the folders.
func TestReadmeHasTheAgentsCodesAndFolders(t *testing.T) {
	for _, code := range []wire.Code{control.CodeCAChanged, control.CodeNoCA, control.CodeNotPaired,
		control.CodeNoSuchDevice, control.CodeBusy, control.CodeAddRefused, control.CodeRemoveRefused, control.CodeInvalid} {
		row := regexp.MustCompile("(?m)^\\| `" + string(code) + "` \\|.*\\| (\\d) \\|$").FindStringSubmatch(read(t, "README.md"))
		if want := fmt.Sprint(command.ExitOf(control.Errorf(code, "", ""))); row == nil || row[1] != want {
			t.Errorf("README.md has no row for %s with exit status %s: %q", code, want, row)
		}
	}
	for _, folder := range []string{"agent", "phone", "hub"} {
		if !strings.Contains(read(t, "README.md"), "| `"+folder+"/` |") {
			t.Errorf("README.md does not say what %s/ is", folder)
		}
	}
}

// Each thing that this module rests on by its own choice has its reason.
func TestDependenciesHaveReasons(t *testing.T) {
	mod, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]string{}
	for _, r := range mod.Require {
		if !r.Indirect {
			direct[r.Mod.Path] = r.Mod.Version
		}
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (v[^ ]+) \\| (.+) \\|$")
	for _, m := range row.FindAllStringSubmatch(read(t, "DEPENDENCIES.md"), -1) {
		path, version := m[1], m[2]
		if direct[path] != version {
			t.Errorf("DEPENDENCIES.md has %s at %s, go.mod has %q", path, version, direct[path])
		}
		delete(direct, path)
	}
	for path, version := range direct {
		t.Errorf("DEPENDENCIES.md has no line for %s %s", path, version)
	}
}

// A link that leads nowhere is worse than none.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`)
	for _, name := range pages(t) {
		text := read(t, name)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := name
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(name), m[1])
			}
			if !strings.HasSuffix(target, ".md") {
				if _, err := os.Stat(filepath.Join("..", "..", target)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if m[2] != "" && !anchors(read(t, target))[m[2]] {
				t.Errorf("%s links to %s%s, which has no such heading", name, target, m[2])
			} else if m[2] == "" {
				read(t, target)
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		a := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found["#"+strings.ReplaceAll(a, " ", "-")] = true
	}
	return found
}

// Whatever a page tells people to type exists, with its flags.
func TestPagesNameCommandsThatExist(t *testing.T) {
	root := Commands()
	root.InitDefaultCompletionCmd()
	mention := regexp.MustCompile(`\bvmux((?: --?[a-z]| [a-z])[^` + "`" + `#|\n]*)`)
	for _, name := range pages(t) {
		for _, typed := range typedLines(read(t, name)) {
			for _, m := range mention.FindAllStringSubmatch(typed, -1) {
				if err := exists(root, strings.Fields(m[1])); err != nil {
					t.Errorf("%s: `vmux%s`: %v", name, m[1], err)
				}
			}
		}
	}
}

// Each page is found by what people look for.
func TestIndexNamesEveryPage(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, name := range pages(t) {
		target, isDoc := strings.CutPrefix(name, "docs/")
		if !isDoc {
			target = "../" + name
		}
		if name != "docs/README.md" && name != "README.md" && name != "CHANGELOG.md" && !strings.Contains(index, "]("+target) {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}

// typedLines are what a page sets as typed: code between backquotes, lines that are
// indented, and in blocks between fences those behind a prompt.
func typedLines(text string) []string {
	var typed []string
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			if _, command, prompted := strings.Cut(line, "$ "); prompted {
				typed = append(typed, command)
			}
			continue
		}
		if strings.HasPrefix(line, "    ") {
			typed = append(typed, line)
			continue
		}
		for i, part := range strings.Split(line, "`") {
			if i%2 == 1 {
				typed = append(typed, part)
			}
		}
	}
	return typed
}

func exists(root *cobra.Command, words []string) error {
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root {
		return fmt.Errorf("no such command")
	}
	if cmd.HasSubCommands() && len(rest) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(rest[0]) {
		return fmt.Errorf("no such command")
	}
	for _, word := range rest {
		if regexp.MustCompile(`^-[a-z]$`).MatchString(word) && word != "-h" && cmd.Flags().ShorthandLookup(word[1:]) == nil && !cmd.DisableFlagParsing {
			return fmt.Errorf("no flag %s", word)
		}
		if name, ok := strings.CutPrefix(word, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			if name != "help" && cmd.Flag(strings.TrimRight(name, ".,;:")) == nil {
				return fmt.Errorf("no flag --%s", name)
			}
		}
	}
	return nil
}

func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "DEPENDENCIES.md"}
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) < 3 {
		t.Fatalf("pages in docs: %d, %v", len(docs), err)
	}
	for _, d := range docs {
		found = append(found, filepath.Join("docs", filepath.Base(d)))
	}
	return found
}

// Each command explains itself, with an example that works as far as its words
// go.
func TestEveryCommandHasHelpAndExample(t *testing.T) {
	root := Commands()
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.Short == "" || (!cmd.HasSubCommands() && cmd.Example == "") {
			t.Errorf("%s has no description or no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			_, words, ok := strings.Cut(line, "vmux ")
			if !ok {
				continue
			}
			words, _, _ = strings.Cut(words, "|")
			words, _, _ = strings.Cut(words, "  ")
			if err := exists(root, strings.Fields(words)); err != nil {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), strings.TrimSpace(line), err)
			}
		}
	}
	visit(root)
}
