package webui

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/chromedp/chromedp"

	"vmux/test/browser"
)

// choose gives the sheet that restores a file and a passphrase.
func (p *tab) choose(file, passphrase string) {
	p.t.Helper()
	p.Act(chromedp.SetUploadFiles(chromedp.CSS("dialog input[type=file]"), []string{file}))
	p.Fill("Its passphrase", passphrase)
	p.Tap("Open")
}

// A person makes a backup by the app's sheets, and saves it: one that is not saved counts as
// none, and its passphrase goes about as bytes. A wrong passphrase is told, and changes
// nothing.
func TestBackupBySheets(t *testing.T) {
	t.Parallel()
	const decomposed = "scho\u0308ne gru\u0308\u00dfe"
	p := open(t, startHub(t), view{before: withoutPRF + saved})
	p.Screen("identities")
	p.Tap("Create a key")
	p.makePassphraseKey("desktop")
	make := func(passphrase string) {
		p.Screen("backup")
		p.Click("[data-key=make-backup]")
		p.WaitFor("/^([A-Z2-7]{5}-){3}[A-Z2-7]{5}$/.test(document.querySelector('#make-backup input.mono').value)")
		p.Do("document.querySelector('#make-backup input.mono').value = " + browser.Quoted(passphrase)) // keys of a test drop combining marks
		p.Fill("Passphrase of this phone’s vault", phrase)
		p.Click("[data-key=noted]")
		p.Tap("Make the backup")
	}
	make("too short")
	p.says("has at least 12 characters")
	p.Do("document.querySelector('#make-backup input.mono').value = " + browser.Quoted(decomposed))
	p.Fill("Passphrase of this phone’s vault", phrase)
	p.Tap("Make the backup")
	p.Wants("The backup is made", "In it desktop")
	p.Tap("Close")
	p.says("The backup was not saved, and counts as none.")
	p.Wants("There is only one way in")
	make(decomposed)
	p.Wants("The backup is made")
	p.Tap("Save the file")
	p.WaitFor("saved.at(-1)?.name")
	p.Do("globalThis.whole = btoa(await saved.at(-1).blob.text())")
	p.Tap("Close")
	p.Wants("The last backup is of")
	p.Lacks("There is only one way in")
	for _, call := range append(p.calls("makeBackup"), p.calls("tap makeBackup")...) {
		for name, value := range call {
			if s, ok := value.(string); ok && strings.Contains(s, "sch") {
				t.Errorf("the passphrase goes about as text: %s", name)
			}
		}
	}
	if name := browser.Eval[string](p, "saved.at(-1).name"); !strings.HasPrefix(name, "vmux-backup-20") || !strings.HasSuffix(name, ".age") {
		t.Errorf("the file is called %q", name)
	}
	whole, err := base64.StdEncoding.DecodeString(browser.Eval[string](p, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.NewScryptIdentity("sch\u00f6ne gr\u00fc\u00dfe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Decrypt(armor.NewReader(bytes.NewReader(whole)), identity); err != nil {
		t.Errorf("the passphrase, composed otherwise: %v", err)
	}

	q := open(t, startHub(t), view{before: withoutPRF})
	path := filepath.Join(t.TempDir(), "whole.age")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	q.Screen("backup")
	q.Click("[data-key=restore-backup]")
	q.choose(path, "not the passphrase")
	q.says("That is not the backup’s passphrase, or the file is damaged.")
	if len(q.core.state().Identities) > 0 {
		t.Errorf("a wrong passphrase has restored %v", q.core.state().Identities)
	}
}
