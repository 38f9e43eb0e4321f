package test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
)

// attacker: a second paired phone that lists a key of the first one's, under a name of
// its own, for servers of its choice, and refuses each use of it at once. It ends no
// login and says nothing of the key until it has signed by it.
func TestSecondPhoneSpeaksForNoKeyThatItHasNotProven(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	o := sshdtest.New(t)
	key := filepath.Join(w.phone.dir, "imported")
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", key)
	for _, label := range []string{"first", "mine"} {
		args := []string{"phone", "identity", "create", "--label", label, "--passphrase-file", w.passphraseFile}
		if label == "mine" {
			args = append(args, "--import", key)
		}
		w.phone.run(args...)
	}
	w.startPhone()
	w.startAgent()
	w.pair()
	w.waitStatus("mine")

	attacker := &world{TB: t, computer: w.computer, phone: newHome(t)}
	attacker.passphraseFile = attacker.phone.file("passphrase", passphrase+"\n")
	attacker.phone.run("phone", "identity", "create", "--label", "theirs", "--import", key, "--passphrase-file", attacker.passphraseFile)
	attacker.phone.run("phone", "policy", "theirs", "--hosts", ssh.FingerprintSHA256(newServerKey(t).PublicKey()))
	attacker.startPhone()
	attacker.pair()
	waitFor(t, "the keys of both phones", func() bool {
		return strings.Count(read(t, w.computer.dir+"/agent/cached-keys.json"), w.identity("mine").Fingerprint) == 2
	})

	s := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("mine").PublicKey}})
	login := func(when string) {
		t.Helper()
		if list := o.Add(t, w.computer.socket(), "-l"); !strings.Contains(list, " mine (") || strings.Contains(list, "theirs") {
			t.Errorf("%s: listed\n%s", when, list)
		}
		if out := must(t, s.Command(deadline(t), t, o, w.computer.socket(), "echo in")); out != "in\n" {
			t.Errorf("%s: %q", when, out)
		}
	}
	login("before any signature")
	if w.approvals() != 1 || attacker.sheets("refused") != 1 {
		t.Errorf("approved %d times, refused by the other %d times; each should have been asked once", w.approvals(), attacker.sheets("refused"))
	}
	w.waitDocument("cached-keys.json", `"proven": true`)
	w.agent.stop()
	w.startAgent()
	waitFor(t, "both phones", func() bool { return strings.Count(w.computer.run("devices", "--json"), `"connected":true`) == 2 })
	login("after a restart")
}
