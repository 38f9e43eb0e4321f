package web

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"vmux/internal/browserphone"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/signer/transfer"
	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// login starts a login by a vault key, which any client can.
func (w *world) login(t *testing.T) (server *sshdtest.Server, cmd *exec.Cmd) {
	t.Helper()
	var s State
	if w.page.State(&s); len(s.Identities) == 0 {
		w.page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ecdsa-sha2-nistp256"}, nil)
		w.listed(t)
	}
	server = sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.page.Identity("key").PublicKey}})
	return server, server.Command(deadline(t), t, sshdtest.Old(t), w.agent.Socket, "echo", "in")
}

// mustLogin logs in, with whatever approves.
func (w *world) mustLogin(t *testing.T) {
	t.Helper()
	server, cmd := w.login(t)
	if out, err := finish(cmd, w.page.ApproveNext); err != nil || out != "in\n" {
		t.Fatalf("%v\n%s\n%s\n%s", err, out, server.Log(), w.agent.Log())
	}
}

// records are those of what was asked, the newest first.
func records(p *Page, t *testing.T) []browserphone.Record {
	t.Helper()
	return slices.DeleteFunc(activity(p, t), func(r browserphone.Record) bool { return r.Kind != "sign" && r.Kind != "certificate" })
}

func activity(p *Page, t *testing.T) []browserphone.Record {
	t.Helper()
	var list []browserphone.Record
	p.MustCall("activity", map[string]int{"limit": 20}, &list)
	return list
}

// A sheet whose passkey did not do its part stays, and can be approved after all.
func TestPasskeyThatIsRefused(t *testing.T) {
	w := newWorld(t)
	server, cmd := w.login(t)
	out, err := finish(cmd, func() {
		sheet := w.page.Sheet()
		w.authenticator.LieAboutUser(true)
		w.wantNoApproval(t, sheet, "badAnswer")
		w.authenticator.LieAboutUser(false)
		if err := w.page.Approve(sheet, nil); err != nil {
			t.Error(err)
		}
	})
	if err != nil || out != "in\n" {
		t.Errorf("%v\n%s\n%s", err, out, server.Log())
	}
	for name, spoil := range map[string]func(){
		"a deleted passkey":              w.authenticator.DeleteCredentials,
		"somebody else before the phone": func() { w.authenticator.SetVerified(false) },
	} {
		spoil()
		_, cmd = w.login(t)
		if out, err := finish(cmd, func() {
			w.wantNoApproval(t, w.page.Sheet(), "cancelled")
			_ = cmd.Process.Kill()
		}); err == nil {
			t.Errorf("logged in by %s: %s", name, out)
		}
		// The sheet of the client that was ended is withdrawn a moment later; the next
		// login's must not be taken for it.
		w.page.WaitState("no sheet is shown", func(s State) bool { return len(s.Sheets) == 0 })
	}
}

// wantNoApproval taps in vain: the sheet is still there.
func (w *world) wantNoApproval(t *testing.T, sheet sheets.Sheet, code string) {
	t.Helper()
	var f *Failure
	if err := w.page.Approve(sheet, nil); !errors.As(err, &f) || f.Code != code || f.Hint == "" {
		t.Errorf("%v, want code %s with a hint", err, code)
	}
	if w.page.Sheet().ID != sheet.ID {
		t.Error("the sheet is gone")
	}
}

func TestDevicesThatLackSomething(t *testing.T) {
	page := NewBrowser(t).Open(StartHub(t).URL + "/")
	poor := page.Authenticator(browser.AuthenticatorOptions{NoPRF: true})
	page.WantFailure("prfUnsupported", "createVault", map[string]string{"label": "v", "algorithm": "ssh-ed25519"})
	page.WantFailure("prfUnsupported", "createCA", map[string]any{"kind": "vault", "principals": []string{"root"}})
	var s State
	page.State(&s)
	if s.Vault != nil || len(s.Identities) != 0 || s.Support.PRF != "unknown" {
		t.Errorf("left behind: %+v", s)
	}
	page.MustCall("createPasskey", map[string]string{"label": "p"}, nil)
	if id := page.Identity("p"); id.BackedUp == nil || *id.BackedUp || id.BackupEligible {
		t.Errorf("device-bound passkey: %+v", id)
	}
	poor.Remove()
	unverified := page.Authenticator(browser.AuthenticatorOptions{NotVerified: true})
	page.WantFailure("cancelled", "createPasskey", map[string]string{"label": "q"})
	unverified.Remove()
	page.Authenticator(browser.AuthenticatorOptions{Synced: true})
	// As the refusal has advised: another provider, without a reload.
	page.Do("location.hash = '#identities'")
	page.Tap("Create a key")
	page.WaitFor("document.querySelector('[data-key=kind-vault]')?.disabled === false")
	page.Tap("Cancel")
	page.MustCall("createPasskey", map[string]string{"label": "q"}, nil)
	if id := page.Identity("q"); id.BackedUp == nil || !*id.BackedUp || !id.BackupEligible {
		t.Errorf("synced passkey: %+v", id)
	}
	page.WantFailure("exists", "createPasskey", map[string]string{"label": "q"})
	page.WantFailure("invalid", "createPasskey", map[string]string{"label": "q\u202e"})
	page.WantFailure("invalid", "createCA", map[string]any{"kind": "passkey", "principals": []string{}})
}

// What falls over comes back by itself, with all that it knew.
func TestRestarts(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createCA", map[string]any{"kind": "passkey", "principals": []string{me(t)}}, nil)
	w.mustLogin(t)
	var before State
	w.page.State(&before)
	for name, fall := range map[string]func(){
		"reload": w.page.Reload,
		"hub":    func() { w.hub.Stop(); w.hub.Start() },
		"agent":  func() { w.agent.Kill(); w.agent.Start() },
	} {
		fall()
		s := w.page.WaitComputer()
		if s.DeviceID != before.DeviceID || s.CA == nil || s.CA.Line != before.CA.Line || len(s.Identities) != 1 {
			t.Errorf("after %s: %+v", name, s)
		}
		w.mustLogin(t)
	}
}

// A request that was made while the hub was away is answered when it is back.
func TestRequestMadeMeanwhile(t *testing.T) {
	w := newWorld(t)
	server, cmd := w.login(t)
	w.hub.Stop()
	out, err := finish(cmd, func() {
		server.WaitForLog(t, "Connection from")
		w.hub.Start()
		w.page.MustCall("foreground", nil, nil)
		w.page.ApproveNext()
	})
	if err != nil || out != "in\n" {
		t.Errorf("%v\n%s\n%s", err, out, w.agent.Log())
	}
}

// Two tabs are one phone: the newer one has it, and the older one can change
// nothing any more.
func TestSecondTab(t *testing.T) {
	w := newWorld(t)
	second := w.browser.Open(w.hub.URL + "/")
	second.Authenticator(browser.AuthenticatorOptions{})
	second.MustCall("createPasskey", map[string]string{"label": "newer"}, nil)
	waitFor(t, "the older tab notices", func() bool {
		var f *Failure
		return errors.As(w.page.Call("rename", map[string]string{"name": "older"}, nil), &f) && f.Code == "otherTab"
	})
	s := second.WaitComputer()
	since := s.Computers[0].Since
	w.page = second
	for range 5 { // pages that push each other out of the hub would do so meanwhile
		w.agent.MustVmux("keys", "refresh")
	}
	if second.State(&s); s.Computers[0].Since != since {
		t.Error("the older tab took the link away")
	}
}

// Chrome loads a page while its address is typed, and perhaps in vain: a page that nobody has
// come to takes nothing from the one in use (WICG/nav-speculation#141, crosstab#52).
func TestPageBeforeSomebodyComes(t *testing.T) {
	w := newWorld(t)
	second := w.browser.Tab()
	second.BeforeLoad("globalThis.before = true; Object.defineProperty(document, 'prerendering', { get: () => before })")
	second.Go(w.hub.URL + "/")
	second.WaitFor("document.documentElement.dataset.begun === 'true'")
	for range 3 { // it would take the store meanwhile
		w.agent.MustVmux("keys", "refresh")
	}
	w.mustLogin(t)
	second.Check("performance.getEntriesByName('vmux-ready').length === 0")
	second.Do("before = false; document.dispatchEvent(new Event('prerenderingchange'))")
	second.MustCall("rename", map[string]string{"name": "newer"}, nil)
	w.page.Wants("vmux was opened in another tab or window.")
}

// fullStorage makes the browser abort what is written, as it does when its quota
// or the disk is used up: Chromium's own quota cannot be lowered so far. With
// thrown, the write fails at once instead, and with a number that of more bytes.
const fullStorage = `
	const put = IDBObjectStore.prototype.put;
	IDBObjectStore.prototype.put = function (...args) {
		if (globalThis.full === 'thrown' || args[0]?.length > globalThis.full) throw new DOMException('full', 'QuotaExceededError');
		const request = put.apply(this, args);
		if (globalThis.full === 'aborted') this.transaction.abort();
		return request;
	};`

// A store that is full costs the new key and nothing else.
func TestFullStorage(t *testing.T) {
	w := newWorld(t)
	w.mustLogin(t)
	for _, how := range []string{"aborted", "thrown"} {
		if err := w.page.Run(fullStorage+"globalThis.full = '"+how+"'; return 1", nil); err != nil {
			t.Fatal(err)
		}
		w.page.WantFailure("storage", "createVault", map[string]string{"label": "more", "algorithm": "ssh-ed25519"})
		w.page.WantFailure("storage", "createPasskey", map[string]string{"label": "face"})
		w.page.WantFailure("storage", "renameIdentity", map[string]string{"fingerprint": w.page.Identity("key").Fingerprint, "label": "other"})
		_, cmd := w.login(t)
		if out, err := finish(cmd, func() {
			if err := w.page.Approve(w.page.Sheet(), nil); err == nil {
				t.Error("approved what cannot be put on record")
			}
		}); err == nil {
			t.Errorf("logged in without a record: %s", out)
		}
		w.page.Reload()
		var s State
		if w.page.State(&s); len(s.Identities) != 1 || s.Identities[0].Label != "key" {
			t.Errorf("%s: announced what is not kept: %+v", how, s.Identities)
		}
		w.page.WaitComputer()
		w.mustLogin(t)
	}
	w.page.MustCall("createVault", map[string]string{"label": "more", "algorithm": "ssh-ed25519"}, nil)

	// Where a line of the log still fits and a key does not, Home goes on to warn.
	if err := w.page.Run(fullStorage+"globalThis.full = 1000; return 1", nil); err != nil {
		t.Fatal(err)
	}
	w.page.WantFailure("storage", "createVault", map[string]string{"label": "even more", "algorithm": "ssh-rsa"})
	w.page.Wants(warning)
	w.mustLogin(t)
	w.page.Wants(warning)
	w.page.Wants("Make a backup, kept elsewhere, while this page is open.")
	w.page.Hides("There is only one way in") // which asks for the same
	var made transfer.Made
	if err := w.page.Run("return await core.call('makeBackup', {}, '"+backupPassphrase+"');", &made); err != nil || len(made.Fingerprints) == 0 {
		t.Errorf("no backup without space: %+v, %v", made.Fingerprints, err)
	}
	if err := w.page.Run("globalThis.full = undefined; return 1", nil); err != nil {
		t.Fatal(err)
	}
	w.page.MustCall("createVault", map[string]string{"label": "even more", "algorithm": "ssh-rsa"}, nil)
	w.page.Hides(warning)
}

func TestStorageRefused(t *testing.T) {
	hub := StartHub(t)
	browser := NewBrowser(t)
	for refuse, hint := range map[string]string{
		`IDBFactory.prototype.open = function () { throw new DOMException('no storage here', 'SecurityError'); }`: "let this site store data",
		// As WebKit does where it cannot encrypt the key that no script can read (tkhq/sdk 1454).
		`const put = IDBObjectStore.prototype.put;
		IDBObjectStore.prototype.put = function (value, ...rest) {
			if (value?.privateKey) {
				throw new DOMException('The object can not be cloned.', 'DataCloneError');
			}
			return put.call(this, value, ...rest);
		}`: "in Lockdown Mode",
	} {
		page := browser.Tab()
		page.BeforeLoad(refuse)
		page.Go(hub.URL + "/")
		var f *Failure
		if err := page.Run("return 1", nil); !errors.As(err, &f) || f.Code != "storage" || !strings.Contains(f.Hint, hint) {
			t.Errorf("%v", err)
		}
	}
}

// A browser that is set to block all cookies tells the cause by other stores than the one that
// fails (tomayac/SVGcode #86): it is that setting which the app names.
func TestStorageBlocked(t *testing.T) {
	profile := t.TempDir()
	if err := os.Mkdir(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	const blocked = `{"profile":{"default_content_setting_values":{"cookies":2}}}`
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(blocked), 0o600); err != nil {
		t.Fatal(err)
	}
	page := StartBrowser(t, chromedp.UserDataDir(profile)).Open(StartHub(t).URL + "/")
	page.Wants("its settings let this site store nothing", "let this site store data, then reload")
}

// The device key can be used by the page and read by nobody.
func TestDeviceKeyCannotBeCopied(t *testing.T) {
	page := NewBrowser(t).Open(StartHub(t).URL + "/")
	var extractable bool
	err := page.Run(`
		const database = await new Promise((resolve, reject) => {
			const request = indexedDB.open('vmux');
			request.onsuccess = () => resolve(request.result);
			request.onerror = () => reject(request.error);
		});
		const key = await new Promise((resolve, reject) => {
			const request = database.transaction('own').objectStore('own').get('deviceKey');
			request.onsuccess = () => resolve(request.result);
			request.onerror = () => reject(request.error);
		});
		database.close();
		try { await crypto.subtle.exportKey('pkcs8', key.privateKey); } catch { return key.privateKey.extractable; }
		return true;`, &extractable)
	if err != nil || extractable {
		t.Errorf("extractable: %v, %v", extractable, err)
	}
}

// storedDocuments reads all that the page has stored.
const storedDocuments = `
		const database = await new Promise((resolve) => {
			const request = indexedDB.open('vmux');
			request.onsuccess = () => resolve(request.result);
		});
		const values = await new Promise((resolve) => {
			const request = database.transaction('documents').objectStore('documents').getAll();
			request.onsuccess = () => resolve(request.result);
		});
		database.close();
		return values.map((value) => new TextDecoder().decode(value));`

// Nothing secret rests in clear: neither a vault's keys nor its secret.
func TestVaultRestsEncrypted(t *testing.T) {
	page := NewBrowser(t).Open(StartHub(t).URL + "/")
	page.Authenticator(browser.AuthenticatorOptions{})
	page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ssh-ed25519"}, nil)
	var stored []string
	err := page.Run(storedDocuments, &stored)
	if err != nil || len(stored) < 3 {
		t.Fatalf("%v: %q", err, stored)
	}
	sealed := 0
	for _, text := range stored {
		if strings.Contains(text, `"sealed"`) {
			sealed++
		}
		if strings.Contains(text, "PRIVATE KEY") || bytes.Contains([]byte(text), []byte{0x04, 0x22, 0x04, 0x20}) {
			t.Errorf("a private key in clear: %q", text)
		}
	}
	if sealed != 1 {
		t.Errorf("%d sealed keys in %q", sealed, stored)
	}
}

func TestUnpairAndWipe(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("rename", map[string]string{"name": "my phone"}, nil)
	// The new name makes a new link. Both ends must have it: a phone that is wiped
	// while it has none can tell the computer nothing, and never will.
	waitFor(t, "the link under the phone's new name", func() bool {
		if !strings.Contains(w.agent.MustVmux("devices"), "  my phone  connected since ") {
			return false
		}
		var s State // now that the computer has heard the name, this is of that link
		w.page.State(&s)
		return len(s.Computers) == 1 && s.Computers[0].Connected
	})
	invitation, _ := w.agent.Invite()
	var info struct{ Name, ID, HubURL string }
	w.page.MustCall("previewInvitation", map[string]string{"invitation": invitation}, &info)
	if info.HubURL != w.hub.URL || info.Name == "" {
		t.Errorf("preview %+v", info)
	}
	w.page.WantFailure("notInvitation", "pair", map[string]string{"invitation": "nonsense"})
	w.page.WantFailure("otherHub", "previewInvitation", map[string]string{
		"invitation": strings.ReplaceAll(invitation, "vmux.localhost", "127.0.0.1"),
	})
	w.page.MustCall("wipe", nil, nil)
	w.page.Reload() // at once: by now the computer has been told, for nobody else will
	waitFor(t, "the computer knows no phone any more", func() bool {
		return !strings.Contains(w.agent.MustVmux("devices"), "my phone")
	})
	var s State
	if w.page.State(&s); len(s.Computers) != 0 || s.DeviceName == "my phone" {
		t.Errorf("after wiping: %+v", s)
	}
}

// iPads call themselves Macs, and have notifications for installed apps only.
func TestIPad(t *testing.T) {
	page := NewBrowser(t).Tab()
	page.BeforeLoad(`
		const agent = navigator.userAgent.replace(/\(.*?\)/, '(Macintosh; Intel Mac OS X 10_15_7)');
		Object.defineProperties(navigator, { userAgent: { value: agent }, platform: { value: 'MacIntel' }, maxTouchPoints: { value: 5 } });
		delete globalThis.PushManager;`)
	page.Go(StartHub(t).URL + "/")
	var s State
	if page.State(&s); s.DeviceName != "iPad" || s.Support.Push != "install" {
		t.Errorf("name %q, notifications %q", s.DeviceName, s.Support.Push)
	}
}
