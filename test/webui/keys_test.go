package webui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"vmux/test/browser"
)

func TestCreatePasskey(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("identities")
	p.Tap("Create a key")
	p.Wants("Passkeys belong to this address", "hub.example.org", "OpenSSH 10.3 or newer")
	p.Tap("Create") // without a name
	if len(calls(p, "createPasskey")) != 0 {
		t.Error("a key without a name was made")
	}
	p.Fill("Name", "laptop")
	p.Do("fake.answers.createPasskey = {code: 'exists', message: 'Another key has this name.', hint: 'Choose another name.'}")
	p.Tap("Create")
	p.Wants("Another key has this name.", "Choose another name.")
	p.Do("delete fake.answers.createPasskey")
	p.Tap("Create")
	p.says("laptop is ready.")
	got := calls(p, "createPasskey")
	if len(got) != 2 || got[1]["label"] != "laptop" || got[1]["active"] != true {
		t.Errorf("createPasskey was called with %v, want laptop, straight from the tap", got)
	}
}

// A browser that wants a tap for the trial of a passkey gets it, from the same button;
// what the key is called cannot change meanwhile. Whoever leaves gives the key up.
func TestOneMoreTap(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("identities")
	for _, leave := range []bool{true, false} {
		p.Tap("Create a key")
		p.Wants("Your device asks twice for a new passkey")
		p.Fill("Name", "laptop")
		p.Do("fake.answers.createPasskey = {code: 'tapAgain', message: 'The passkey is made, and has to be tried.'}")
		p.Tap("Create")
		p.Wants("One more tap", "the key is shown once it has signed a test")
		if !browser.Eval[bool](p, "document.querySelector('dialog input[type=text]').disabled && document.querySelector('[data-key=kind-vault]').matches(':disabled')") {
			t.Error("the key can be changed")
		}
		given := len(calls(p, "discardKey"))
		if leave {
			p.Tap("Cancel")
			p.WaitFor("fake.calls.some((c) => c.name === 'discardKey')")
			continue
		}
		p.Do("fake.answers.createPasskey = {code: 'cancelled', message: 'The passkey was not used.'}")
		p.Tap("Try it")
		p.Wants("The passkey was not used.", "One more tap")
		p.Do("fake.answers.createPasskey = {code: 'unproven', message: 'This passkey cannot sign for SSH.', hint: 'Create it elsewhere.', orphan: {}}")
		p.Tap("Try it")
		p.Wants("No key was made", "This passkey cannot sign for SSH.", "Create it elsewhere.")
		p.Fill("Name", "laptop")
		p.Do("fake.answers.createPasskey = {code: 'tapAgain', message: 'The passkey is made, and has to be tried.'}")
		p.Tap("Create")
		p.Wants("One more tap")
		p.Do("delete fake.answers.createPasskey")
		p.Tap("Try it")
		p.says("laptop is ready.")
		if got := calls(p, "createPasskey"); given != 1 || got[len(got)-1]["active"] != true {
			t.Errorf("%d were given up; %v", given, got)
		}
	}
}

func TestCreateVaultKey(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", "old servers")
	p.Do("document.querySelector('[data-key=kind-vault]').click()")
	p.Tap("RSA")
	p.Tap("Create")
	p.says("old servers is ready.")
	got := calls(p, "createVault")
	if len(got) != 1 || fmt.Sprintf("%v %v %v", got[0]["label"], got[0]["algorithm"], got[0]["active"]) != "old servers ssh-rsa true" {
		t.Errorf("createVault was called with %v", got)
	}
}

// Without PRF there is no vault: the app says so and offers what works.
func TestWithoutPRF(t *testing.T) {
	support := map[string]any{"webauthn": true, "prf": "no", "platformAuthenticator": true, "persisted": false, "push": "unsupported"}
	p := open(t, startHub(t), view{options: map[string]any{"fresh": true, "state": map[string]any{"support": support}}})
	p.Wants("No vault keys", "WebAuthn PRF is missing", "No notifications", "Storage may be cleared")
	p.Screen("identities")
	p.Tap("Create a key")
	if !browser.Eval[bool](p, "document.querySelector('[data-key=kind-vault]').disabled && document.querySelector('[data-key=kind-passkey]').checked") {
		t.Error("a vault key is offered")
	}
	p.Tap("Cancel")
	p.Tap("Import")
	p.Wants("Create a passkey instead.")
}

// A bare IP address can be no relying party.
func TestRefusesOnABareAddress(t *testing.T) {
	problem := "192.0.2.7 is an address, and passkeys need a host name."
	support := map[string]any{"webauthn": false, "prf": "unknown", "platformAuthenticator": true, "persisted": false, "push": "off"}
	p := open(t, startHub(t), view{options: map[string]any{"fresh": true, "state": map[string]any{"rpProblem": problem, "support": support}}})
	p.Wants("No keys can be made at this address", problem, "No passkeys None can be made at this address.", "No vault keys")
	p.Lacks("This browser has no WebAuthn", "Create a key", "screen lock ") // it has all
	p.Screen("identities")
	p.Tap("Create a key")
	p.Wants(problem)
	if !browser.Eval[bool](p, "document.querySelector('dialog[open] button[type=submit]').disabled") {
		t.Error("Create can be tapped")
	}
	p.Tap("Cancel")
	p.Screen("ca")
	if !browser.Eval[bool](p, browser.Button("Create a CA")+".disabled") {
		t.Error("Create a CA can be tapped")
	}
}

// A private key that was pasted or chosen stays on the page no longer than needed.
func TestImport(t *testing.T) {
	p := open(t, startHub(t), view{})
	file := filepath.Join(t.TempDir(), "id_old")
	const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n"
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Screen("identities")
	p.Tap("Import")
	p.Act(chromedp.SetUploadFiles(chromedp.CSS("dialog input[type=file]"), []string{file}))
	p.WaitFor("document.querySelector('dialog textarea').value.includes('BEGIN OPENSSH')")
	p.Fill("Passphrase", "wrong")
	p.Do("fake.answers.importVault = {code: 'authenticationFailed', message: 'The passphrase is wrong.'}")
	p.Tap("Import")
	p.Wants("The passphrase is wrong.")
	p.WaitFor("document.querySelector('dialog input[type=password]').value === ''")
	p.Do("delete fake.answers.importVault; globalThis.kept = document.querySelector('dialog textarea')")
	p.Fill("Passphrase", "right")
	p.Tap("Import")
	p.says("Imported.")
	p.WaitFor("kept.value === ''")
	got := calls(p, "importVault")
	if len(got) != 2 || got[1]["label"] != "old" || got[1]["passphrase"] != "right" || got[1]["file"] != key || got[1]["active"] != true {
		t.Errorf("importVault was called with %v", got)
	}
}

func TestIdentityActions(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen(passkey)
	p.Wants("verify-required sk-ecdsa-sha2-nistp256@openssh.com", "Synced", "Not every computer can use it")
	p.Do("document.querySelector('[data-key=switch-Enabled]').click()")
	p.WaitFor("fake.calls.some((c) => c.name === 'enableIdentity' && c.args.enabled === false)")
	p.WaitFor("document.querySelector('.headline .badge.warn')?.innerText.trim() === 'Off'")
	p.Do("document.querySelector('[data-key=rename]').click()")
	p.Fill("Name", "office")
	p.Tap("Save")
	p.WaitFor("fake.calls.some((c) => c.name === 'renameIdentity' && c.args.label === 'office')")
	p.Do("document.querySelector('[data-key=principals]').click()")
	p.Fill("Account names", "ada, root ada")
	p.Tap("Save")
	p.WaitFor("fake.calls.some((c) => c.name === 'setPrincipals' && c.args.principals.join() === 'ada,root')")
	p.Do("document.querySelector('[data-key=delete]').click()")
	p.Wants("Delete this key?", "lock you out")
	p.Tap("Cancel")
	if len(calls(p, "deleteIdentity")) != 0 {
		t.Error("a key was deleted without confirmation")
	}
	p.Do("document.querySelector('[data-key=delete]').click()")
	p.Tap("Delete")
	p.says("work was deleted.")
	p.WaitFor("location.hash === '#identities' && !document.querySelector('main').innerText.includes('work')")
}

// A switch whose change failed does not show what is not so.
func TestSwitchGoesBack(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen(passkey)
	p.Do("fake.answers.enableIdentity = {code: 'storage', message: 'The browser does not keep what vmux stores.'}; document.querySelector('[data-key=switch-Enabled]').click()")
	p.Wants("The browser does not keep what vmux stores.")
	p.WaitFor("document.querySelector('[data-key=switch-Enabled]').checked")
}

func TestCA(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("ca")
	p.Wants("TrustedUserCAKeys /etc/ssh/vmux_ca.pub", "CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com")
	p.Tap("Change the policy")
	p.Tap("1 h")
	p.Tap("agent-forwarding")
	p.Fill("Only from these addresses", "192.0.2.0/24 2001:db8::/32")
	p.Tap("Save")
	p.says("The policy holds from now on.")
	policy := fmt.Sprint(calls(p, "setPolicy")[0]["policy"])
	for _, want := range []string{"maxValiditySeconds:3600", "extensions:[permit-pty permit-port-forwarding]", "sourceAddress:[192.0.2.0/24 2001:db8::/32]", "automaticIssuance:true"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is %s, want %s", policy, want)
		}
	}
	p.Do("fake.set({ca: {...fake.full().ca, kind: 'vault'}})")
	p.WaitFor("!document.body.innerText.includes('CASignatureAlgorithms')")
}

func TestCreateCA(t *testing.T) {
	p := open(t, startHub(t), view{options: fresh})
	p.Screen("ca")
	p.Tap("Create a CA")
	p.Fill("Account names", "ada,deploy")
	p.Tap("Create")
	p.says("The CA is ready.")
	got := calls(p, "createCA")
	if len(got) != 1 || fmt.Sprintf("%v %v %v", got[0]["kind"], got[0]["principals"], got[0]["active"]) != "vault [ada deploy] true" {
		t.Errorf("createCA was called with %v", got)
	}
}

// The app can be used without touching or seeing the screen.
func TestKeyboard(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("document.activeElement.blur()")
	p.tabTo("Skip to the contents")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.WaitFor("document.activeElement.id === 'main'")
	p.tabTo("old-laptop")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.Wants("Its clock differs by 41 s")
	p.Act(chromedp.KeyEvent(kb.Escape))
	p.WaitFor("document.querySelector('dialog') === null && document.activeElement.dataset.key?.startsWith('computer-yo6')")
	p.tabTo("Identities")
	p.Act(chromedp.KeyEvent(kb.Enter))
	p.WaitFor("location.hash === '#identities' && document.activeElement.id === 'title'")
	// A change in the background takes nothing away from under the keyboard.
	p.tabTo("deploy")
	p.Do("fake.set({deviceName: 'another'})")
	p.WaitFor("document.activeElement.innerText?.includes('deploy')")
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

func TestActivity(t *testing.T) { usesActivity(open(t, startHub(t), view{})) }

// usesActivity finds its way in the log, whatever the time of day.
func usesActivity(p *tab) {
	p.t.Helper()
	p.Screen("activity")
	p.Wants("deploy@web-1.example.org", "Yesterday")
	p.Do("document.querySelector('[data-key=outcome-denied]').click()")
	p.WaitFor("document.querySelectorAll('.log li').length === 1 && document.querySelector('.log').innerText.includes('Denied')")
	p.Do("document.querySelector('[data-key=\"outcome-\"]').click(); document.querySelector('[data-key=search]').focus()")
	p.Act(chromedp.KeyEvent("git studio"))
	p.WaitFor("document.querySelectorAll('.log li').length === 1 && document.querySelector('.log').innerText.includes('Git commit signature')")
	p.Act(chromedp.KeyEvent(" nothing"))
	p.Wants("Nothing found")
	p.Do("document.querySelector('[data-key=search]').value = ''; document.querySelector('[data-key=search]').dispatchEvent(new Event('input'))")
	p.Do("document.querySelector('[data-key=log-r3]').click()")
	p.Wants("12073184629913371842", "Valid until")
	p.Wants("root@db-2.example.org (claimed) and others", "3500 times", "What a key may do was changed", "Key deleted", "CA created", "Computer paired")
	p.Do("document.querySelector('[data-key=log-r8-merged]').click()")
	p.Wants("3500 times, until ", "root@db-3.example.org (claimed) by ssh ← cron (480 times)", "other things (20 times)", "several requests were denied")
	p.Do("document.querySelector('[data-key=outcome-change]').click()")
	p.WaitFor("document.querySelectorAll('.log li').length === 5")
	p.Do("document.querySelector('[data-key^=log-key-changed]').click()")
	p.Wants("policy: hosts web-1.example.org; forbidden forwarded")
}

func TestSettings(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("settings")
	p.Do("document.querySelector('[data-key=\"switch-Notify me when a request waits\"]').click()")
	p.WaitFor("fake.calls.some((c) => c.name === 'subscribePush')")
	p.Do("document.querySelector('[data-key=rename-phone]').click()")
	p.Fill("Name", "pocket")
	p.Tap("Save")
	p.WaitFor("fake.calls.some((c) => c.name === 'rename' && c.args.name === 'pocket')")
	p.Do("document.querySelector('[data-key=export]').click()")
	p.Wants("verify-required sk-ecdsa")
	p.Tap("Close")
	p.Do("document.querySelector('[data-key=wipe]').click()")
	p.Tap("Forget everything")
	p.Wants("Type the word “forget” first.")
	if len(calls(p, "wipe")) != 0 {
		t.Error("everything was forgotten at one tap")
	}
	p.Fill("Type “forget” to go on", "forget")
	p.Do("const keep = fake.calls; globalThis.addEventListener('pagehide', () => sessionStorage.setItem('wiped', String(keep.some((c) => c.name === 'wipe'))))")
	p.Tap("Forget everything")
	p.WaitFor("sessionStorage.getItem('wiped') === 'true'")
}
