package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"os/user"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
	"vmux/test/web"
)

// All that a person does, in Firefox: a phone that is paired, has keys of both
// kinds, approves logins, denies one, and opens without its hub.
func TestFirefox(t *testing.T) {
	w := newWorld(t, startFirefox(t))
	w.page.wants("Passkeys SSH keys in this device’s", "Vault keys: perhaps", "Notifications: off")
	w.pair("Pair a computer")
	unverified := w.page.authenticator(false)
	w.page.fillKey("hardware", "passkey")
	w.page.tap("Create")
	w.page.wants("The passkey was not used.")
	w.page.tap("Cancel")
	w.page.do(removeAuthenticator, map[string]any{"authenticatorId": unverified})
	w.page.authenticator(true)
	w.page.run(signedAlone)
	w.page.makeKey("hardware", "passkey")
	w.page.makeKey("everywhere", "vault")
	w.logsIn("hardware", sshdtest.New(t))
	w.logsIn("everywhere", sshdtest.Old(t))
	w.isDenied("everywhere")
	w.staysPaired()
	w.opensOffline()
}

// WebKitGTK has no WebAuthn. The app says what does not work, offers what does,
// and is paired, stored and opened offline as anywhere.
func TestWebKit(t *testing.T) {
	w := newWorld(t, startWebKit(t))
	w.page.wants("This browser has no WebAuthn", "no request can be approved", "Safari (iOS 18 or newer)", "vmux phone",
		"No passkeys This browser has no WebAuthn", "No vault keys Only a passkey could unlock them.", "No notifications")
	w.page.lacks("Passkeys work", "Create a key", "screen lock, or use a security key")
	w.pair("Pair here all the same")
	w.page.screen("identities")
	w.page.wants("This browser has no WebAuthn")
	for _, name := range []string{"Create a key", "Import"} {
		w.page.tap(name)
		w.page.waitFor(topmost + ".innerText.includes('This browser has no WebAuthn')")
		w.page.waitFor(topmost + ".querySelector('form, button.primary:enabled') === null")
		w.page.choose(".sheet-head .icon-button")
	}
	w.page.screen("ca")
	w.page.wants("This browser has no WebAuthn")
	w.page.waitFor("document.querySelector('#actions button').disabled")
	w.staysPaired()
	w.opensOffline()
}

// The same in Safari's engine, with passkeys that the test lends it:
// the sheets, the signer and the store are the real ones, and each passkey is
// asked for in the very tap, without which Safari refuses.
func TestWebKitWithPasskeys(t *testing.T) {
	w := newWorld(t, startWebKit(t))
	w.page.run(softAuthenticator)
	w.page.wants("Face, finger or screen lock")
	w.pair("Pair a computer")
	w.page.makeKey("hardware", "passkey")
	w.page.makeKey("everywhere", "vault")
	for key, client := range map[string]sshdtest.OpenSSH{"hardware": sshdtest.New(t), "everywhere": sshdtest.Old(t)} {
		w.page.run("globalThis.tapped = false")
		w.logsIn(key, client)
		w.page.waitFor("globalThis.tapped")
	}
	w.isDenied("everywhere")
}

// In Lockdown Mode, Safari has no WebAssembly.
func TestWebKitWithoutWebAssembly(t *testing.T) {
	page := startWebKit(t, "JSC_useWasm=0")
	page.open(web.StartHub(t).URL + "/")
	page.wants("The app could not start", "This browser runs no WebAssembly", "Lockdown Mode", "Try again")
}

// world is a phone in a browser, a computer and the hub between them.
type world struct {
	t     *testing.T
	hub   *web.Hub
	agent *web.Agent
	page  *browser
}

// newWorld has the app open at the size of a phone, and its phone is new.
func newWorld(t *testing.T, page *browser) *world {
	t.Helper()
	w := &world{t: t, hub: web.StartHub(t), page: page}
	w.agent = web.StartAgent(t, w.hub.URL)
	page.popUp(390, 844)
	page.open(w.hub.URL + "/")
	page.wants("Your SSH keys, on this phone")
	return w
}

// authenticator adds a virtual one, whose person is there and known to it or not,
// and returns its name.
func (b *browser) authenticator(verified bool) (id string) {
	b.t.Helper()
	value := b.do(addAuthenticator, map[string]any{
		"protocol": "ctap2_1", "transport": "internal", "hasResidentKey": true,
		"hasUserVerification": true, "isUserConsenting": true, "isUserVerified": verified,
	})
	if err := json.Unmarshal(value, &id); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// signedAlone makes of what the virtual authenticator has signed what it returns:
// that of Firefox 153 puts the answer of the PRF extension into it afterwards, so
// that its signature holds for the rest alone. Real ones sign both.
const signedAlone = `
	const own = Object.getOwnPropertyDescriptor(AuthenticatorAssertionResponse.prototype, 'authenticatorData').get;
	Object.defineProperty(AuthenticatorAssertionResponse.prototype, 'authenticatorData', { get() { return own.call(this).slice(0, 37); } });`

// pair pastes an invitation and agrees.
func (w *world) pair(button string) {
	w.t.Helper()
	invitation, paired := w.agent.Invite()
	w.page.tap(button)
	w.page.fill("Or paste the invitation", invitation)
	w.page.tap("Continue")
	w.page.wants("Pair with this computer?")
	w.page.tap("Pair")
	paired()
	w.page.wants("Paired with", "Connected")
}

// fillKey fills in the sheet that makes a key, up to its last tap.
func (b *browser) fillKey(name, kind string) {
	b.t.Helper()
	b.screen("identities")
	b.tap("Create a key")
	b.fill("Name", name)
	b.choose("[data-key=kind-" + kind + "]")
}

func (b *browser) makeKey(name, kind string) {
	b.t.Helper()
	b.fillKey(name, kind)
	b.tap("Create")
	b.wants(name + " is ready.")
}

// line is what the page of a key shows for authorized_keys.
func (b *browser) line(name string) string {
	b.t.Helper()
	b.screen("identities")
	b.waitFor(rowOf(name))
	b.run(rowOf(name) + ".click()")
	b.waitFor("document.querySelector('.code pre') !== null")
	line, err := eval[string](b, "document.querySelector('.code pre').textContent")
	if err != nil || line == "" {
		b.t.Fatalf("the line is %q, %v", line, err)
	}
	return line
}

func rowOf(name string) string {
	return "Array.from(document.querySelectorAll('main a')).find((e) => e.innerText.includes(" + quoted(name) + "))"
}

// login starts to log in to a server that knows the key, from a client, taps a
// button on the sheet, and returns what ssh has printed.
func (w *world) login(key string, client sshdtest.OpenSSH, button string) (string, error) {
	w.t.Helper()
	server := sshdtest.Old(w.t).StartServer(w.t, sshdtest.Config{AuthorizedKeys: []string{w.page.line(key)}})
	w.agent.MustVmux("keys", "refresh")
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := server.Command(ctx, w.t, client, w.agent.Socket, "echo", "in")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.page.wants("Checked by this phone", key)
	w.page.tap(button)
	err := cmd.Wait()
	return out.String(), err
}

func (w *world) logsIn(key string, client sshdtest.OpenSSH) {
	w.t.Helper()
	if out, err := w.login(key, client, "Approve"); err != nil || out != "in\n" {
		w.t.Errorf("by %s: %v\n%s\nthe page shows:\n%s\n%s", key, err, out, w.page.text(), w.agent.Log())
	}
	w.page.waitFor("document.querySelector('dialog') === null")
}

func (w *world) isDenied(key string) {
	w.t.Helper()
	if out, err := w.login(key, sshdtest.Old(w.t), "Deny"); err == nil {
		w.t.Errorf("logged in after a denial: %s", out)
	}
	w.page.waitFor("document.querySelector('dialog') === null")
	w.page.screen("activity")
	account, err := user.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	w.page.wants("Denied", "Approved", account.Username+"@[127.0.0.1]:")
}

// staysPaired loads the page again: device key, pairing and keys were stored, so
// the computer sees the phone that it knows.
func (w *world) staysPaired() {
	w.t.Helper()
	before := w.agent.MustVmux("devices")
	w.page.open(w.hub.URL + "/?again")
	w.page.wants("Connected", "Online")
	if after := w.agent.MustVmux("devices"); strings.Count(after, "\n") != strings.Count(before, "\n") {
		w.t.Errorf("after loading again the computer knows\n%s\nbefore\n%s", after, before)
	}
}

// opensOffline stops the hub: the service worker has kept the app.
func (w *world) opensOffline() {
	w.t.Helper()
	w.page.waitFor("navigator.serviceWorker.controller !== null")
	w.hub.Stop()
	w.page.open(w.hub.URL + "/#settings")
	w.page.wants("Settings", "Device ID")
	w.page.screen("home")
	w.page.wants("Offline")
	w.hub.Start()
	w.page.wants("Online", "Connected")
}
