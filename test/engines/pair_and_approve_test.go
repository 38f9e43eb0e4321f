// Package engines holds the tests of the phone app in browsers other than
// Chromium: Debian's WebKitGTK, which is Safari's engine, and Firefox. A person's
// way is gone by what is on the screen, with the real hub, agent and sshd; what
// core and pages do in all their cases is tested in Chromium, see web and webui.
package engines

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"vmux/internal/leakcheck"
	"vmux/internal/sshdtest"
	"vmux/test/browser"
	"vmux/test/web"
)

// pictures is where the tests put what the engines have drawn, for people to
// look at. Nothing is compared: each engine has its own fonts and fields.
var (
	pictures = flag.String("pictures", "", "folder for pictures of the screens")
	dark     = flag.Bool("dark", false, "in dark colours")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := leakcheck.Run(m)
	web.Cleanup()
	os.Exit(code)
}

// All that a person does, in Firefox: a phone that is paired, has keys of all
// kinds, approves logins, denies one, and opens without its hub.
func TestFirefox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, browser.StartFirefox(t, *dark))
	w.page.Wants("Passkeys SSH keys in this device’s", "Vault keys: perhaps", "Notifications: off")
	w.pair("Pair a computer")
	w.makePassphraseKey("desktop") // there is no authenticator yet
	w.passphrase = phrase
	w.logsIn("desktop", sshdtest.Old(t))
	w.passphrase = ""
	remove := w.page.AddAuthenticator(false)
	w.fillKey("hardware", "passkey")
	w.page.Tap("Create")
	w.page.Wants("The passkey was not used.")
	w.page.Tap("Cancel")
	remove()
	w.page.AddAuthenticator(true)
	w.page.Do(signedAlone)
	w.makeKey("hardware", "passkey")
	w.makeKey("everywhere", "vault")
	w.logsIn("hardware", sshdtest.New(t))
	w.logsIn("everywhere", sshdtest.Old(t))
	w.isDenied("everywhere")
	w.staysPaired()
	w.opensOffline()
}

// Firefox that resists fingerprinting, as LibreWolf and Tor Browser do, gives noise in
// place of pictures (jam 892): no code would ever be read, and the app says why.
func TestFirefoxThatGivesNoPictures(t *testing.T) {
	t.Parallel()
	camera := []string{"media.navigator.streams.fake", "media.navigator.permission.disabled"}
	hub := web.StartHub(t)
	for _, c := range []struct {
		on   []string
		says string
	}{
		{camera, "Hold the code inside the frame."},
		{append(camera, "privacy.resistFingerprinting"), "This browser does not let the app read the camera’s picture."},
	} {
		page := browser.StartFirefox(t, *dark, c.on...)
		page.Go(hub.URL + "/#pair")
		if len(c.on) == len(camera) { // a picture has been read
			page.WaitFor("performance.getEntriesByType('resource').some((f) => f.name.endsWith('/reader.js'))")
		}
		page.Wants(c.says)
	}
}

// WebKitGTK has no WebAuthn. The app says what does not work and offers what does: keys
// under a passphrase, which log in to any server. It is paired, stored and opened offline
// as anywhere.
func TestWebKit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, browser.StartWebKit(t, *dark))
	w.page.Wants("This browser has no WebAuthn", "passphrase keys, which are weaker", "Safari (iOS 18 or newer)", "vmux phone",
		"No passkeys This browser has no WebAuthn", "No vault keys Only a passkey could unlock them.", "Passphrase keys The weaker vault", "No notifications")
	w.page.Lacks("Passkeys work", "screen lock, or use a security key")
	w.pair("Pair a computer")
	w.makePassphraseKey("desktop")
	w.passphrase = phrase
	w.logsIn("desktop", sshdtest.Old(t))
	w.isDenied("desktop")
	w.staysPaired()
	w.logsIn("desktop", sshdtest.Old(t))
	w.opensOffline()
}

// The same in Safari's engine, with passkeys that the test lends it:
// the sheets, the signer and the store are the real ones, and each passkey is
// asked for in the very tap, without which Safari refuses.
func TestWebKitWithPasskeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, browser.StartWebKit(t, *dark))
	w.page.Do(softAuthenticator)
	w.page.Wants("Face, finger or screen lock")
	w.pair("Pair a computer")
	w.makeKey("hardware", "passkey")
	w.makeKey("everywhere", "vault")
	for key, client := range map[string]sshdtest.OpenSSH{"hardware": sshdtest.New(t), "everywhere": sshdtest.Old(t)} {
		w.page.Do("globalThis.tapped = false")
		w.logsIn(key, client)
		w.page.WaitFor("globalThis.tapped")
	}
	w.isDenied("everywhere")
}

// In Lockdown Mode, Safari has no WebAssembly.
func TestWebKitWithoutWebAssembly(t *testing.T) {
	t.Parallel()
	page := browser.StartWebKit(t, *dark, "JSC_useWasm=0")
	page.Go(web.StartHub(t).URL + "/")
	page.Wants("The app could not start", "This browser runs no WebAssembly", "Lockdown Mode", "Try again")
}

// world is a phone in a browser, a computer and the hub between them.
type world struct {
	t     *testing.T
	hub   *web.Hub
	agent *web.Agent
	page  *browser.Remote
	// passphrase is typed before Approve is tapped.
	passphrase string
}

const phrase = "correct horse battery"

// newWorld has the app open at the size of a phone, and its phone is new.
func newWorld(t *testing.T, page *browser.Remote) *world {
	t.Helper()
	w := &world{t: t, hub: web.StartHub(t), page: page}
	w.agent = web.StartAgent(t, w.hub.URL)
	page.PopUp(390, 844)
	page.Go(w.hub.URL + "/")
	page.Wants("Your SSH keys, on this phone")
	return w
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
	w.page.Tap(button)
	w.page.Fill("Or paste the invitation", invitation)
	w.page.Tap("Continue")
	w.page.Wants("Pair with this computer?")
	w.page.Tap("Pair")
	paired()
	w.page.Wants("Paired with", "Connected")
}

// fillKey fills in the sheet that makes a key, up to its last tap.
func (w *world) fillKey(name, kind string) {
	w.t.Helper()
	w.page.Screen("identities")
	w.page.Tap("Create a key")
	w.page.Fill("Name", name)
	w.page.Click("[data-key=kind-" + kind + "]")
}

func (w *world) makeKey(name, kind string) {
	w.t.Helper()
	w.fillKey(name, kind)
	w.page.Tap("Create")
	w.page.Wants(name + " is ready.")
}

// makePassphraseKey makes the first key of the vault that opens with a passphrase.
func (w *world) makePassphraseKey(name string) {
	w.t.Helper()
	w.fillKey(name, "passphrase")
	w.page.Fill("New passphrase", phrase)
	w.page.Fill("Once more", phrase)
	w.page.Tap("Create")
	w.page.Wants(name + " is ready.")
}

// line is what the page of a key shows for authorized_keys.
func (w *world) line(name string) string {
	w.t.Helper()
	w.page.Screen("identities")
	w.page.WaitFor(rowOf(name))
	w.page.Do(rowOf(name) + ".click()")
	w.page.WaitFor("document.querySelector('.code pre') !== null")
	return browser.Eval[string](w.page, "document.querySelector('.code pre').textContent")
}

func rowOf(name string) string {
	return "Array.from(document.querySelectorAll('main a')).find((e) => e.innerText.includes(" + browser.Quoted(name) + "))"
}

// login starts to log in to a server that knows the key, from a client, taps a
// button on the sheet, and returns what ssh has printed.
func (w *world) login(key string, client sshdtest.OpenSSH, button string) (string, error) {
	w.t.Helper()
	server := sshdtest.Old(w.t).StartServer(w.t, sshdtest.Config{AuthorizedKeys: []string{w.line(key)}})
	w.agent.MustVmux("keys", "refresh")
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := server.Command(ctx, w.t, client, w.agent.Socket, "echo", "in")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.page.Wants("Checked by this phone", key)
	if w.passphrase != "" && button == "Approve" {
		w.page.Fill("Passphrase of the vault", w.passphrase)
	}
	w.page.Tap(button)
	err := cmd.Wait()
	return out.String(), err
}

func (w *world) logsIn(key string, client sshdtest.OpenSSH) {
	w.t.Helper()
	if out, err := w.login(key, client, "Approve"); err != nil || out != "in\n" {
		w.t.Errorf("by %s: %v\n%s\nthe page shows:\n%s\n%s", key, err, out, w.page.Text(), w.agent.Log())
	}
	w.page.WaitFor("document.querySelector('dialog') === null")
}

func (w *world) isDenied(key string) {
	w.t.Helper()
	if out, err := w.login(key, sshdtest.Old(w.t), "Deny"); err == nil {
		w.t.Errorf("logged in after a denial: %s", out)
	}
	w.page.WaitFor("document.querySelector('dialog') === null")
	w.page.Screen("activity")
	account, err := user.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	w.page.Wants("Denied", "Approved", account.Username+"@[127.0.0.1]:")
}

// staysPaired loads the page again: device key, pairing and keys were stored, so
// the computer sees the phone that it knows.
func (w *world) staysPaired() {
	w.t.Helper()
	before := w.agent.MustVmux("devices")
	w.page.Go(w.hub.URL + "/?again")
	w.page.Wants("Connected", "Online")
	if after := w.agent.MustVmux("devices"); strings.Count(after, "\n") != strings.Count(before, "\n") {
		w.t.Errorf("after loading again the computer knows\n%s\nbefore\n%s", after, before)
	}
}

// opensOffline stops the hub: the service worker has kept the app.
func (w *world) opensOffline() {
	w.t.Helper()
	w.page.WaitFor("navigator.serviceWorker.controller !== null")
	w.hub.Stop()
	w.page.Go(w.hub.URL + "/#settings")
	w.page.Wants("Settings", "Device ID")
	w.page.Screen("home")
	w.page.Wants("Offline")
	w.hub.Start()
	w.page.Wants("Online", "Connected")
}
