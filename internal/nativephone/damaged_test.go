//go:build linux || darwin

package nativephone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// What a disk has lost of a document (openhab-core issue 2136) is told with the file, and with
// what brings back what was in it.
func TestDamagedDocumentIsExplained(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"identities.json", "", "or rename it and `vmux phone restore BACKUP`"},
		{"identities.json", `{"version": 2}`, "bring vmux on this machine to the version that wrote it"},
		{"hosts.json", "{", "or rename it and `vmux phone restore BACKUP`"},
		{trustDocument, "", "or rename it and pair the computers again"},
		{keyDocument, "", "or rename it and pair the computers again"},
	} {
		p, home := newPhone(t)
		p.Close()
		path := filepath.Join(p.dir.Path(), c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Open(home, "a test", signer.Approver{}, nil)
		if err == nil {
			defer p.Close()
			_, keys := p.Signer.Identities.All()
			_, hosts := p.Signer.Hosts.All()
			_, computers := p.Trust.Peers()
			for _, e := range []error{keys, hosts, computers} {
				if e != nil {
					err = p.Explained(e)
				}
			}
		}
		hint := wire.HintOf(err)
		if !strings.Contains(hint, c.want) || strings.HasPrefix(hint, "put") && !strings.Contains(hint, path) {
			t.Errorf("%s, %q: %v; %q", c.name, c.content, err, hint)
		}
	}
}
