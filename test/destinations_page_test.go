package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// docs/destinations.md and docs/git.md: each command works as it stands there, in this order,
// and each line of a sheet is explained.
func TestPageOnDestinations(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	w.phone.run("phone", "ca", "create", "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "policy", "--principals", username(t), "--auto-issue=false")
	w.startPhone()
	w.startAgent()
	w.pair()
	w.requestCertificate()
	repo := w.repository("product")
	o := sshdtest.New(t)
	n := named{"prod-1.example.com": o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("work").PublicKey}})}
	w.knows(n)
	must(t, w.runs(o, n.config(t, w.computer.socket()), "-o", "IdentitiesOnly=yes", "-i", w.publicFile("work"), "prod-1.example.com", "true"))

	vmux, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var page []byte
	for _, name := range []string{"destinations", "git"} {
		text, err := os.ReadFile("../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
	}
	words := strings.NewReplacer(
		"FINGERPRINT", fingerprintOf(t, n["prod-1.example.com"].HostKey),
		"SERIAL", w.issued()[w.deviceID()], "COMPUTER", w.deviceID())
	typed := 0
	for line := range strings.Lines(string(page)) {
		where, command, found := strings.Cut(strings.TrimSpace(line), "$ ")
		h, dir := map[string]*home{"phone": w.phone, "computer": w.computer}[where], repo.dir
		if !found || h == nil {
			continue
		}
		if h == w.phone {
			dir = w.phone.dir
		}
		typed++
		cmd := h.commandOf(deadline(t), "/bin/sh", "-c", words.Replace(command))
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(vmux)+":/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1")
		if strings.Contains(command, "git commit") {
			cmd.Args[2] += " --allow-empty"
		}
		if out, errs, err := finish(cmd); err != nil {
			t.Errorf("%s: %v\n%s%s", command, err, out, errs)
		}
	}
	if typed < 25 {
		t.Errorf("%d commands in the page: are they still written as phone$ and computer$?", typed)
	}
	lines := 0
	for _, r := range w.records() {
		for _, l := range r.Lines {
			if lines++; !strings.Contains(string(page), "`"+l.Name+"`") {
				t.Errorf("the page does not explain the line %q", l.Name)
			}
		}
	}
	if lines == 0 {
		t.Error("no sheet was shown")
	}
}
