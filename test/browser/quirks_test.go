package browser

import (
	"io/fs"
	"os"
	"strings"
	"testing"
)

// The docs tell each platform's quirk that is only simulated, and none that is not.
func TestDocsTellTheQuirks(t *testing.T) {
	docs, err := os.ReadFile("../../docs/phone.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(docs), "\n### Simulated\n")
	if !ok {
		t.Fatal("docs/phone.md has no section Simulated")
	}
	table, _, _ = strings.Cut(table, "\n#")
	files, err := fs.Glob(quirks, "quirks/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "quirks/"), ".js")
		if !strings.Contains(table, "\n| `"+name+"` |") {
			t.Errorf("docs/phone.md does not list %s", name)
		}
		script, err := fs.ReadFile(quirks, file)
		if err != nil || !strings.HasPrefix(string(script), "// ") {
			t.Errorf("%s does not begin with a comment that says whose quirk it is: %v", file, err)
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(files) {
		t.Errorf("docs/phone.md lists %d quirks; there are %d", rows, len(files))
	}
}
