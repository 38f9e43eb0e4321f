package test

import (
	"strings"
	"testing"
)

// What goes into a server's TrustedUserCAKeys is one phone's CA, with the phone's
// name. With two phones the user says which.
func TestTheCAOfOnePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	line := strings.TrimSpace(w.computer.run("ca"))
	if fields := strings.Fields(line); len(fields) < 3 {
		t.Errorf("no comment: %q", line)
	}
	first := w.computer.run("ca", "--json")

	other := &world{TB: t, computer: w.computer, phone: newHome(t)}
	other.passphraseFile = other.phone.file("passphrase", passphrase+"\n")
	other.phone.run("phone", "ca", "create", "--principals", "root", "--passphrase-file", other.passphraseFile)
	other.startPhone()
	other.pair()
	waitFor(t, "both CAs", func() bool { return strings.Count(w.computer.run("ca", "--json"), `"deviceID"`) == 2 })

	r := w.computer.try("ca")
	if r.exit != 2 || r.stdout != "" || !strings.Contains(r.stderr, "several phones have a CA") {
		t.Errorf("two CAs: %+v", r)
	}
	_, id, _ := strings.Cut(first, `"deviceID":"`)
	id, _, _ = strings.Cut(id, `"`)
	if got := strings.TrimSpace(w.computer.run("ca", id)); got != line {
		t.Errorf("vmux ca %s: %q, want %q", id, got, line)
	}
}
