package sshconfig

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The hosts that a person has given names, once each, and no patterns.
func TestHosts(t *testing.T) {
	home := t.TempDir()
	for path, text := range map[string]string{
		"config":       "Host one two\n  Include inner\nhost *.example.com !three ?x\nInclude ~/.ssh/d/*.conf nowhere\nMatch host four\nHost one\n",
		"inner":        "Host \"five six\" -oProxyCommand=x\nInclude config\n",
		"d/a.conf":     "Host=seven\n",
		"d/.a.conf.sw": "Host eight\n",
	} {
		path = filepath.Join(home, ".ssh", path)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := Hosts(home), []string{"one", "two", "five six", "seven"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Hosts(filepath.Join(home, "none")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
