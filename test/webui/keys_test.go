package webui

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"golang.org/x/crypto/ssh"

	"vmux/test/browser"
)

func TestCreatePasskey(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.passkey("laptop")
	p.Screen("identities")
	p.Tap("Create a key")
	p.Wants("Passkeys belong to this address", "localhost", "OpenSSH 10.3 or newer")
	before := len(p.calls("tap createPasskey"))
	p.Tap("Create") // without a name
	if len(p.calls("tap createPasskey")) != before {
		t.Error("a key without a name was made")
	}
	p.Fill("Name", "laptop")
	p.Tap("Create")
	p.Wants("Another key has this name.")
	p.Fill("Name", "desk")
	p.Tap("Create")
	p.says("desk is ready.")
	if got := p.calls("tap createPasskey"); p.core.identity("desk").Kind != "passkey" || got[len(got)-2]["active"] != true {
		t.Errorf("createPasskey was called with %v, want it straight from the tap", got)
	}
}

// A browser that wants a tap for the trial of a passkey gets it, from the same button;
// what the key is called cannot change meanwhile. Whoever leaves gives the key up.
func TestOneMoreTap(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: browser.QuirkScript(t, "passkey-refusal") + ";" + browser.QuirkScript(t, "tap-for-each-passkey")})
	p.Screen("identities")
	begin := func() {
		t.Helper()
		p.Fill("Name", "laptop")
		p.Tap("Create")
		p.Wants("One more tap", "the key is shown once it has signed a test")
		if !browser.Eval[bool](p, "document.querySelector('dialog input[type=text]').disabled && document.querySelector('[data-key=kind-vault]').matches(':disabled')") {
			t.Error("the key can be changed")
		}
	}
	p.Tap("Create a key")
	p.Wants("Your device asks twice for a new passkey")
	begin()
	p.Tap("Cancel")
	waitFor(t, "the key is given up", func() bool { return len(p.calls("discardKey")) == 1 })
	p.WaitFor(noSheet)
	p.Tap("Create a key")
	begin()
	p.Do("globalThis.passkeyRefusal = {name: 'NotAllowedError'}")
	p.Tap("Try it")
	p.Wants("The passkey was not used.", "One more tap")
	p.Do("globalThis.passkeyRefusal = null")
	p.device.LieAboutUser(true)
	p.Tap("Try it")
	p.Wants("No key was made", "This passkey cannot sign for SSH", "another passkey provider")
	p.device.LieAboutUser(false)
	begin()
	p.Tap("Try it")
	p.says("laptop is ready.")
	p.WaitFor(listsKeys) // the button moves with that
	p.Tap("Create a key")
	p.Fill("Name", "everywhere")
	p.Click("[data-key=kind-vault]")
	p.Tap("Create")
	p.Tap("Try it")
	p.says("everywhere is ready.")
	if list, taps := p.core.state().Identities, p.calls("tap createPasskey"); len(list) != 2 || taps[len(taps)-1]["active"] != true {
		t.Errorf("made %v, by %v", list, taps)
	}
}

func TestCreateVaultKey(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", "old servers")
	p.Click("[data-key=kind-vault]")
	p.Tap("RSA")
	p.Tap("Create")
	p.says("old servers is ready.")
	if id := p.core.identity("old servers"); id.Kind != "vault" || id.Algorithm != "ssh-rsa" {
		t.Errorf("made %+v", id)
	}
}

// without is a browser that says that it has no PRF.
const withoutPRF = "PublicKeyCredential.getClientCapabilities = async () => ({'extension:prf': false});"

// Without PRF no passkey opens a vault: the app says so and offers what works.
func TestWithoutPRF(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: withoutPRF + "delete globalThis.PushManager;"})
	p.Wants("No vault keys", "WebAuthn PRF is missing", "No notifications", "Storage may be cleared")
	p.Screen("identities")
	p.Tap("Create a key")
	if !browser.Eval[bool](p, "document.querySelector('[data-key=kind-vault]').disabled && document.querySelector('[data-key=kind-passkey]').checked") {
		t.Error("a vault key is offered")
	}
	p.Wants("Passphrase key", "The weaker vault")
	p.Tap("Cancel")
	p.Tap("Import")
	p.Wants("The weaker of the vaults")
	p.WaitFor("document.querySelector('[data-key=kind-passphrase]').checked && document.querySelector('[data-key=kind-vault]').disabled")
}

// A bare IP address can be no relying party. A passphrase is at home there, too.
func TestOnABareAddress(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	h.URL = strings.Replace(h.URL, "localhost", "127.0.0.1", 1)
	const problem = "This page was opened by an IP address. Passkeys belong to a host name"
	p := open(t, h, view{})
	p.Wants("No passkeys at this address", problem, "No passkeys None can be made at this address.", "No vault keys", "Passphrase keys The weaker vault")
	p.Lacks("This browser has no WebAuthn", "Face, finger or screen lock", "No screen lock") // it has all
	p.Screen("identities")
	p.Wants(problem)
	p.Tap("Create a key")
	for _, kind := range []string{"passkey", "vault"} {
		p.WaitFor("document.querySelector('[data-key=kind-" + kind + "]').disabled")
	}
	p.makePassphraseKey("desktop")
	p.Screen("ca")
	p.Tap("Create a CA")
	p.Fill("Account names", "root")
	p.Fill("Passphrase of the vault", phrase)
	p.Tap("Create")
	p.says("The CA is ready.")
}

// A private key that was pasted or chosen stays on the page no longer than needed, and a
// passphrase no longer than it is tried.
func TestImport(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_old")
	utf16 := []byte{0xff, 0xfe} // as Windows PowerShell writes what it prints
	for _, b := range pem.EncodeToMemory(block) {
		utf16 = append(utf16, b, 0)
	}
	if err := os.WriteFile(file, utf16, 0o600); err != nil {
		t.Fatal(err)
	}
	p.Screen("identities")
	p.Tap("Import")
	// A file in a cloud, which Android names and cannot read (holoprint#140, pdx-tools#82).
	p.Do("globalThis.read = Blob.prototype.arrayBuffer; Blob.prototype.arrayBuffer = Blob.prototype.text = async () => { throw new DOMException('', 'NotReadableError'); }")
	p.Act(chromedp.SetUploadFiles(chromedp.CSS("dialog input[type=file]"), []string{file}))
	p.says("The file cannot be read.")
	p.Do("Blob.prototype.arrayBuffer = read")
	p.Act(chromedp.SetUploadFiles(chromedp.CSS("dialog input[type=file]"), []string{file}))
	p.WaitFor("document.querySelector('dialog textarea').value.includes('BEGIN OPENSSH')")
	p.Fill("Passphrase of the file", "wrong")
	p.Tap("Import")
	p.Wants("That is not the key file's passphrase.")
	p.WaitFor("document.querySelector('dialog input[type=password]').value === ''")
	p.Do("globalThis.kept = document.querySelector('dialog textarea')")
	p.Fill("Passphrase of the file", "right")
	p.Tap("Import")
	p.says("Imported.")
	p.WaitFor("kept.value === ''")
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if id := p.core.identity("old"); id.Fingerprint != ssh.FingerprintSHA256(public) {
		t.Errorf("imported %+v", id)
	}
	if taps := p.calls("tap importVault"); taps[0]["active"] != true {
		t.Error("not straight from the tap")
	}
}

// presses what a password manager shows in the page, where a finger reaches it.
func (p *tab) presses(button string) {
	p.t.Helper()
	found := "Array.from(document.querySelectorAll('passkey-prompt button')).find((b) => b.textContent === " + browser.Quoted(button) + ")"
	p.WaitFor("(() => { const b = " + found + ", r = b?.getBoundingClientRect(); return b && document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2) === b; })()")
	at := p.middle(found)
	p.mouse(input.DispatchMouseEventTypeMousePressed, at)
	p.mouse(input.DispatchMouseEventTypeMouseReleased, at)
}

// A password manager that asks for a passkey in the page itself can be answered, though a sheet
// is open, which is modal before and after.
func TestPromptInThePage(t *testing.T) {
	t.Parallel()
	for _, inside := range []bool{false, true} {
		p := open(t, startHub(t), view{before: browser.QuirkScript(t, "prompt-in-page", inside)})
		o := p.computer("laptop")
		p.Screen("identities")
		p.Tap("Create a key")
		p.Fill("Name", "work")
		p.Tap("Create")
		p.presses("Refuse")
		p.says("The passkey was not used.")
		p.WaitFor("document.querySelector('dialog.sheet').matches(':modal:not([inert])')")
		p.Tap("Create")
		p.presses("Use it") // to make it
		p.presses("Use it") // to try it
		p.says("work is ready.")
		p.WaitFor(noSheet)
		a := o.asks(wanted{key: "work"})
		p.armed()
		p.Tap("Approve")
		p.presses("Use it")
		a.signed()
		p.WaitFor(noSheet)
	}
}

// shows opens the screen of a key.
func (p *tab) shows(label string) {
	p.t.Helper()
	p.Screen("identities")
	p.Click("[data-key=\"identity-" + p.core.identity(label).Fingerprint + "\"]")
	p.WaitFor("location.hash.startsWith('#identity=') && document.activeElement?.id === 'title'")
}

func TestIdentityActions(t *testing.T) {
	t.Parallel()
	p, _ := paired(t, view{})
	p.shows("work")
	p.Wants("verify-required sk-ecdsa-sha2-nistp256@openssh.com", "This device only", "Not every computer can use it")
	p.Do("document.querySelector('[data-key=switch-Enabled]').click()")
	p.WaitFor("document.querySelector('.headline .badge.warn')?.innerText.trim() === 'Off'")
	if p.core.identity("work").Enabled {
		t.Error("the key is not switched off")
	}
	p.Do("document.querySelector('[data-key=rename]').click()")
	p.Fill("Name", "office")
	p.Tap("Save")
	p.WaitFor("document.querySelector('.headline-title').innerText.trim() === 'office'")
	p.Do("document.querySelector('[data-key=principals]').click()")
	p.Fill("Account names", "ada, root ada")
	p.Tap("Save")
	p.Wants("ada, root")
	if got := p.core.identity("office").Principals; !slices.Equal(got, []string{"ada", "root"}) {
		t.Errorf("for the accounts %v", got)
	}
	p.Do("document.querySelector('[data-key=delete]').click()")
	p.Wants("Delete this key?", "lock you out")
	p.Tap("Cancel")
	if len(p.core.state().Identities) != 1 {
		t.Error("a key was deleted without confirmation")
	}
	p.Do("document.querySelector('[data-key=delete]').click()")
	p.Tap("Delete")
	p.says("office was deleted.")
	p.WaitFor("location.hash === '#identities' && !document.querySelector('main').innerText.includes('office')")
}

// A switch whose change failed does not show what is not so.
func TestSwitchGoesBack(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.passkey("work")
	p.shows("work")
	p.core.store.full.Store(true)
	p.Do("document.querySelector('[data-key=switch-Enabled]').click()")
	p.Wants("The browser does not keep what vmux stores (QuotaExceededError).")
	p.WaitFor("document.querySelector('[data-key=switch-Enabled]').checked")
}

func TestCA(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.makeCA("passkey", "ada, deploy")
	p.Wants("TrustedUserCAKeys /etc/ssh/vmux_ca.pub", "CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com")
	before := p.core.state().CA.Policy
	p.Tap("Change the policy")
	p.Tap("1 h")
	p.Tap("agent-forwarding")
	p.Fill("Only from these addresses", "192.0.2.0/24 2001:db8::/32")
	p.Tap("Save")
	p.says("The policy holds from now on.")
	after := p.core.state().CA.Policy
	if fmt.Sprint(before.Principals) != "[ada deploy]" || after.MaxValiditySeconds != 3600 || slices.Contains(after.Extensions, "permit-agent-forwarding") == slices.Contains(before.Extensions, "permit-agent-forwarding") ||
		!slices.Equal(after.SourceAddress, []string{"192.0.2.0/24", "2001:db8::/32"}) || !slices.Equal(after.Principals, before.Principals) {
		t.Errorf("the policy %+v became %+v", before, after)
	}
}

// The app can be used without touching or seeing the screen.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	p, _ := paired(t, view{})
	p.Wants("Connected")
	p.Do("document.activeElement.blur()")
	p.tabTo("Skip to the contents")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.WaitFor("document.activeElement.id === 'main'")
	p.tabTo("studio")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.Wants("OpenSSH_9.2p1")
	p.Act(chromedp.KeyEvent(kb.Escape))
	p.WaitFor("document.querySelector('dialog') === null && document.activeElement.dataset.key?.startsWith('computer-')")
	p.tabTo("Identities")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.WaitFor("location.hash === '#identities' && document.activeElement.id === 'title'")
	// A change in the background takes nothing away from under the keyboard.
	p.tabTo("work")
	p.call("setPrincipals", map[string]any{"fingerprint": p.core.identity("work").Fingerprint, "principals": []string{"ada"}})
	p.call("enableIdentity", map[string]any{"fingerprint": p.core.identity("work").Fingerprint, "enabled": false})
	p.WaitFor("document.querySelector('main').innerText.includes('Off') && document.activeElement.innerText?.includes('work')")
}

// tabTo presses Tab until the focus is on what begins with that text.
func (p *tab) tabTo(text string) {
	p.t.Helper()
	for range 60 {
		p.Act(chromedp.KeyEvent(kb.Tab))
		if browser.Eval[bool](p, "document.activeElement !== document.body && (document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText ?? '').trim().startsWith("+browser.Quoted(text)+")") {
			if !browser.Eval[bool](p, "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.id === 'main'") {
				p.t.Errorf("nothing shows that %s has the focus", text)
			}
			return
		}
	}
	p.t.Fatalf("Tab never comes to %s", text)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: pushing})
	p.passkey("work")
	p.Screen("settings")
	p.Click(`[data-key="switch-Notify me when a request waits"]`)
	p.Wants("Ring me")
	if !p.core.state().Push {
		t.Error("notifications are off")
	}
	p.Do("document.querySelector('[data-key=rename-phone]').click()")
	p.Fill("Name", "pocket")
	p.Tap("Save")
	p.Wants("pocket Computers know this phone by this name.")
	p.Do("document.querySelector('[data-key=export]').click()")
	p.Wants("verify-required sk-ecdsa")
	p.Tap("Close")
	p.Do("document.querySelector('[data-key=wipe]').click()")
	p.Tap("Forget everything")
	p.Wants("Type the word “forget” first.")
	if len(p.core.state().Identities) != 1 {
		t.Error("everything was forgotten at one tap")
	}
	p.Fill("Type “forget” to go on", "forget")
	p.Tap("Forget everything")
	p.Wants("How to begin")
	if s := p.core.state(); len(s.Identities) != 0 || s.Push {
		t.Errorf("after all was forgotten: %+v", s)
	}
}
