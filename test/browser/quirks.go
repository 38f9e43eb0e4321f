package browser

import (
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed quirks
var quirks embed.FS

// Quirk makes the page behave as some platform does, by quirks/NAME.js: before the
// scripts of each document that it loads from now on. The script is a function,
// which is called with args.
func (t *Tab) Quirk(name string, args ...any) {
	t.T.Helper()
	t.BeforeLoad(QuirkScript(t.T, name, args...))
}

// QuirkScript is quirks/NAME.js with its call.
func QuirkScript(t TB, name string, args ...any) string {
	t.Helper()
	script, err := quirks.ReadFile("quirks/" + name + ".js")
	if err != nil {
		t.Fatalf("there is no quirk %q: %v", name, err)
	}
	list, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		t.Fatalf("quirk %s: %v", name, err)
	}
	return fmt.Sprintf("(\n%s\n)(...%s)", script, list)
}
