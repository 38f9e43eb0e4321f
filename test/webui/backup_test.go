package webui

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/chromedp/chromedp"
	"golang.org/x/text/unicode/norm"

	"vmux/test/browser"
)

// choose gives the sheet that restores a file and a passphrase, which a test's keyboard could
// not type: it drops combining marks.
func (p *tab) choose(file, passphrase string) {
	p.t.Helper()
	p.Act(chromedp.SetUploadFiles(chromedp.CSS("dialog input[type=file]"), []string{file}))
	p.Do("document.querySelector('#restore-backup input[type=password]').value = " + browser.Quoted(passphrase))
	p.Tap("Open")
}

// A person makes a backup by the app's sheets, and saves it: one that is not saved counts as
// none, and its passphrase goes about as bytes. Another phone restores it by them. A wrong
// passphrase, a file that is cut off or of a newer version are told, and change nothing.
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
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(whole)), identity)
	if err != nil {
		t.Fatalf("the passphrase, composed otherwise: %v", err)
	}
	document, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}

	q := open(t, startHub(t), view{before: withoutPRF})
	q.Screen("backup")
	q.Click("[data-key=restore-backup]")
	dir := t.TempDir()
	for _, c := range []struct {
		name             string
		file             []byte
		passphrase, says string
	}{
		{"whole.age", whole, "not the passphrase", "That is not the backup’s passphrase, or the file is damaged."},
		{"cut.age", whole[:len(whole)/2], decomposed, "damaged"},
		{"other.age", []byte("no backup"), decomposed, "no backup"},
		{"newer.age", encrypted(t, bytes.Replace(document, []byte(`"version": 1`), []byte(`"version": 2`), 1), decomposed), decomposed, "newer version of vmux"},
		{"whole.age", whole, decomposed, ""},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		q.choose(path, c.passphrase)
		if c.says != "" {
			q.says(c.says)
		}
		if len(q.core.state().Identities) > 0 {
			t.Errorf("%s has restored %v", c.name, q.core.state().Identities)
		}
	}
	q.Wants("A backup of", "desktop")
	q.Fill("New passphrase", phrase)
	q.Fill("Once more", phrase)
	q.Tap("Restore")
	q.says("Restored. Pair this phone with your computers.")
	if before, after := p.core.identity("desktop"), q.core.identity("desktop"); after.Fingerprint != before.Fingerprint {
		t.Errorf("restored %+v, not %+v", after, before)
	}
}

// encrypted is a backup of what the document says.
func encrypted(t *testing.T, document []byte, passphrase string) []byte {
	t.Helper()
	to, err := age.NewScryptRecipient(norm.NFC.String(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	var file bytes.Buffer
	w, err := age.Encrypt(&file, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(document); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
