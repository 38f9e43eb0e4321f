package setup

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What launchd would be told, which has never run on a Mac: testdata/launchd.txt was
// written by hand from launchd.plist(5).
func TestLaunchdsFiles(t *testing.T) {
	w := Wish{Home: "/Users/zoe", Program: "/opt/R&D/bin/vmux", Socket: "/Users/zoe/.ssh/vmux-agent.sock", Environment: []string{"VMUX_HOME=/Users/zoe/<v>"}}
	var b strings.Builder
	for _, c := range slices.Concat(w.launchdService(launchdAgent, "agent"), w.launchctlSetenv(), w.launchdService(launchdPhone, "phone", "run")) {
		b.WriteString("# " + c.What() + "\n" + c.Lines)
		for d := xml.NewDecoder(strings.NewReader(c.Lines)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", c.Path, err)
			}
		}
	}
	want, err := os.ReadFile(filepath.Join("testdata", "launchd.txt"))
	if err != nil || b.String() != string(want) {
		t.Errorf("%v; made:\n%s", err, b.String())
	}
}

// bash in macOS' terminals reads one file alone: a new one would hide it.
func TestBashProfile(t *testing.T) {
	a := newAccount(t)
	if got := a.bashProfile(); got != ".bash_profile" {
		t.Errorf("of none: %s", got)
	}
	for _, name := range []string{".profile", ".bash_login", ".bash_profile"} {
		a.put(name, "x\n", 0o644)
		if got := a.bashProfile(); got != name {
			t.Errorf("beside the later ones of %s: %s", name, got)
		}
	}
}
