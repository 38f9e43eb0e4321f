package webui

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"vmux/test/browser"
)

// listsKeys is whether the screen has been drawn since there is a key.
const listsKeys = `document.querySelector('#main [href^="#identity="]') !== null`

const phrase = "correct horse battery"

// secretFields counts the fields of passphrases, and those of them that hold something.
const secretFields = "Array.from(document.querySelectorAll('[autocomplete$=password]'))"

// makePassphraseKey fills in the sheet that makes a key.
func (p *tab) makePassphraseKey(name string) {
	p.t.Helper()
	p.Fill("Name", name)
	p.Click("[data-key=kind-passphrase]")
	p.Fill("New passphrase", phrase)
	p.Fill("Once more", phrase)
	p.Tap("Create")
	p.says(name + " is ready.")
	p.WaitFor(listsKeys)
	if id := p.core.identity(name); id.Kind != "passphrase" || id.Algorithm != "ssh-ed25519" {
		p.t.Errorf("made %+v", id)
	}
}

// A new passphrase has to be long enough and typed alike twice, or is suggested. Password
// managers are told what each field is, and no keyboard changes a letter.
func TestChoosingAPassphrase(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: withoutPRF})
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", "desktop")
	p.Click("[data-key=kind-passphrase]")
	p.Wants("The weaker of the vaults", "12 characters or more, whichever they are")
	p.Lacks("Your device asks twice", "Passkeys belong to this address")
	p.Fill("New passphrase", "too short")
	p.Tap("Create")
	p.says("The passphrase needs 12 characters or more.")
	p.Fill("New passphrase", phrase)
	p.Fill("Once more", "correct horse batterz")
	p.Tap("Create")
	p.says("The two passphrases differ.")
	if list := browser.Eval[[]string](p, secretFields+".map((f) => ['type', 'autocomplete', 'autocapitalize', 'autocorrect', 'spellcheck'].map((a) => f.getAttribute(a)).join(' '))"); len(list) != 2 ||
		list[0] != "password new-password off off false" || list[1] != list[0] {
		t.Errorf("the fields are %q", list)
	}
	if owner := browser.Eval[string](p, "document.querySelector('form [autocomplete=username]').value"); owner != "vmux vault" {
		t.Errorf("a password manager calls it %q", owner)
	}
	p.Tap("Suggest one")
	p.WaitFor(secretFields + ".every((f) => f.type === 'text' && /^([a-z]{5}-){3}[a-z]{5}$/.test(f.value))")
	p.Tap("Hide")
	p.WaitFor(secretFields + ".every((f) => f.type === 'password')")
	p.Do("globalThis.kept = " + secretFields)
	p.Tap("Create")
	p.says("desktop is ready.")
	p.WaitFor("kept.every((f) => f.value === '')")
	p.shows("desktop")
	p.Wants("Passphrase key", "encrypted under your passphrase", "no authenticator confirms that it is you")
	p.Lacks("verify-required")
}

// A passkey provider that cannot lock a vault is named, and there is another way at once.
func TestPassphraseAfterAPasskeyThatCannot(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: browser.QuirkScript(t, "other-prf", "each time")})
	p.Screen("identities")
	p.Tap("Create a key")
	p.Lacks("Passphrase key")
	p.Fill("Name", "desktop")
	p.Click("[data-key=kind-vault]")
	p.Tap("Create")
	p.Wants("No key was made", "Passphrase key Rests encrypted")
	p.makePassphraseKey("desktop")
}

// The passphrase is asked for each signature, and gone from its field with the tap. A wrong
// one is told, and leaves the request to be approved; Enter approves as the button does.
func TestApprovingByPassphrase(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: withoutPRF})
	p.Screen("identities")
	p.Tap("Create a key")
	p.makePassphraseKey("desktop")
	o := p.computer("laptop")
	a := o.asks(wanted{key: "desktop"})
	p.armed()
	if list := browser.Eval[[]string](p, secretFields+".map((f) => f.getAttribute('type') + ' ' + f.autocomplete)"); strings.Join(list, ",") != "password current-password" {
		t.Errorf("the fields are %q", list)
	}
	p.Tap("Approve")
	p.Wants("Type the passphrase first.")
	// Password managers that fill in and send forms by themselves approve nothing
	// (keepassxc-browser#216, bitwarden/clients#7675), by whichever way they send them.
	p.Fill("Passphrase of the vault", "not the passphrase")
	p.Do("globalThis.field = " + secretFields + "[0]; for (const type of ['keydown', 'keyup']) { field.dispatchEvent(new KeyboardEvent(type, { key: 'Enter', bubbles: true })); }" +
		"field.form.requestSubmit(); field.form.querySelector('[type=submit]').click()")
	p.Check("field.value === 'not the passphrase'")
	if taps := p.calls("tap approve"); len(taps) > 0 {
		t.Errorf("approved by a program: %v", taps)
	}
	p.Tap("Approve")
	p.WaitFor(secretFields + ".every((f) => f.value === '')")
	p.Wants("That is not the passphrase of this phone’s vault.")
	p.armed()
	p.Fill("Passphrase of the vault", phrase)
	p.Act(chromedp.KeyEvent(kb.Enter))
	a.signed()
	p.WaitFor(noSheet)
	for _, call := range append(p.calls("approve"), p.calls("tap approve")...) {
		for name, value := range call {
			if s, ok := value.(string); ok && strings.Contains(s, "horse") {
				t.Errorf("the passphrase goes about as text: %s", name)
			}
		}
	}
}

// The page of a key changes the passphrase of all of them.
func TestChangingThePassphrase(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: withoutPRF})
	p.Screen("identities")
	p.Tap("Create a key")
	p.makePassphraseKey("desktop")
	p.shows("desktop")
	p.Tap("Change the passphrase")
	p.Wants("can still open that copy")
	const next = "staple staple staple"
	p.Fill("New passphrase", next)
	p.Fill("Once more", next)
	p.Tap("Change")
	p.says("Type the passphrase first.")
	p.Fill("Current passphrase", "not the passphrase")
	p.Tap("Change")
	p.says("That is not the passphrase of this phone’s vault.")
	p.WaitFor(secretFields + "[0].value === ''")
	p.Fill("Current passphrase", phrase)
	p.Do("globalThis.kept = " + secretFields)
	p.Tap("Change")
	p.says("The vault opens with the new passphrase.")
	p.WaitFor("kept.every((f) => f.value === '')")
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", "second")
	p.Click("[data-key=kind-passphrase]")
	p.Fill("Passphrase of the vault", phrase)
	p.Tap("Create")
	p.says("That is not the passphrase of this phone’s vault.")
	p.Fill("Passphrase of the vault", next)
	p.Tap("Create")
	p.says("second is ready.")
}
