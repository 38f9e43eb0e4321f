package webui

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/test/browser"
	"vmux/test/web"
)

// What stands in the hub's place, and what the app says of it: a network's login
// page, a login for people before the hub, a proxy that lets pages through and no
// WebSockets, and nobody. The phone's own page comes from its storage throughout.
func TestReachSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	real := realHub(t)
	agent := web.StartAgent(t, real.URL)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: real.URL}}, view{before: lens})
	// A proxy with a login gives nothing to a request without cookies, and browsers
	// ask for the manifest without, unless they are told.
	if got := browser.Eval[string](p, "document.querySelector('link[rel=manifest]').crossOrigin"); got != "use-credentials" {
		t.Errorf("the manifest is asked for with %q", got)
	}
	p.Wants("Your SSH keys, on this phone")
	p.pairs(agent)
	p.Wants("Online")

	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<h1>Welcome, guest</h1>"))
	}
	for _, s := range []struct {
		stands  http.HandlerFunc
		says    string
		signsIn bool
	}{
		{html, "A login page answers in place of the hub", true},
		{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://sso.invalid/login", http.StatusFound)
		}, "A login page answers in place of the hub", true},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "The hub is out of order", false},
		{func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = w.Write([]byte("ok\n"))
		}, "Something holds back the app’s connection", false},
		{nil, "The hub is not reached", false},
	} {
		real.Stop()
		end := standsIn(t, real.URL, s.stands)
		began := time.Now()
		p.Wants(s.says)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%q after %v", s.says, took)
		}
		if browser.Eval[bool](p, "document.querySelector('[data-key=sign-in]') !== null") != s.signsIn {
			t.Errorf("%q: a way to sign in: want %v", s.says, s.signsIn)
		}
		end()
		real.Start()
		p.Wants("Online")
	}
	p.Tolerate("WebSocket connection to")
	p.Tolerate("Failed to load resource")
}

// pairs pairs with a computer, by the text of its invitation.
func (p *tab) pairs(agent *web.Agent) {
	p.t.Helper()
	invitation, paired := agent.Invite()
	p.Tap("Pair a computer")
	p.Fill("Or paste the invitation", invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.Tap("Pair")
	paired()
	p.says("Paired with") // and goes home by itself
}

// ofReach looks for why a hub is not reached that answers each time: again and again, and
// much later.
const ofReach = `
let now = 0;
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { onLine: true } });
performance.now = () => now;
globalThis.location = { origin: 'https://hub.example.org' };
globalThis.fetch = async () => new Response('ok\n', { headers: { 'Vmux-Hub': 'https://hub.example.org' } });
const { whyOffline, again } = await import(process.argv[2]);
const said = [];
for (const later of [again + 1, 1, 20 * again, again + 1, 0]) {
	said.push((await whyOffline(() => said.push('it connects'), 'hub: the hub is restarting (closing)')).title);
	now += later;
}
console.log(said.join('; '));
`

// A hub that has come back answers before the app is connected to it: nothing is held
// back by then, and nobody has to set a proxy right.
func TestHubThatIsBackIsNotHeldBack(t *testing.T) {
	t.Parallel()
	const held = "Something holds back the app’s connection"
	want := "it connects; The hub answers; " + held + "; " + held + "; it connects; The hub answers; " + held
	if said := saidOfReach(t, ofReach); said != want {
		t.Errorf("%s; want %s", said, want)
	}
}

// Safari's Private Relay lets pages through and WebSockets not (dart-lang/http#1688,
// geppetto-vfb#1715): the owner of an iPhone hears of it, and nobody else does.
func TestPrivateRelayIsNamed(t *testing.T) {
	t.Parallel()
	texts := strings.Replace(ofReach, ".title", ".text", 1)
	for vendor, named := range map[string]bool{"Apple Computer, Inc.": true, "Google Inc.": false, "": false} {
		look := strings.Replace(texts, "onLine: true", "onLine: true, vendor: '"+vendor+"'", 1)
		if said := saidOfReach(t, look); strings.Contains(said, "Private Relay") != named || !strings.Contains(said, "let /v1/connect through") {
			t.Errorf("%q: %s", vendor, said)
		}
	}
}

// A page that was opened at another address than the hub's (plausible 205) says which one
// that is, before anything is made there: devices are not let in from it.
func TestAnotherAddressOfTheHub(t *testing.T) {
	t.Parallel()
	real := realHub(t)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: strings.Replace(real.URL, "vmux.localhost", "localhost", 1)}}, view{})
	p.Wants("The hub has another address", "Open the app at "+real.URL+".")
	p.Tolerate("WebSocket connection to")
}

// connectsAsThePhone connects to the hub by the device key of the page.
const connectsAsThePhone = `
	const wait = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
	const database = await wait(indexedDB.open('vmux'));
	const { privateKey, publicKey } = await wait(database.transaction('own').objectStore('own').get('deviceKey'));
	database.close();
	const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
	const number = (bytes) => {
		const rest = bytes.slice(bytes.findIndex((b) => b !== 0));
		return rest[0] < 128 ? [2, rest.length, ...rest] : [2, rest.length + 1, 0, ...rest];
	};
	globalThis.copy = new WebSocket(location.origin.replace('http', 'ws') + '/v1/connect', 'vmux-hub.v1');
	await new Promise((resolve) => {
		copy.onmessage = async ({ data }) => {
			const { type, origin, challenge } = JSON.parse(data);
			if (type === 'welcome') {
				resolve();
			} else if (type === 'challenge') {
				const signed = Uint8Array.from('vmux hub v1\0' + origin + '\0' + atob(challenge), (c) => c.charCodeAt(0));
				const raw = new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, signed));
				const signature = [...number(raw.slice(0, 32)), ...number(raw.slice(32))];
				copy.send(JSON.stringify({
					type: 'proof', signature: base64([0x30, signature.length, ...signature]),
					publicKey: base64(new Uint8Array(await crypto.subtle.exportKey('spki', publicKey))),
				}));
			}
		};
	});`

// A copy of the browser's profile, or of the whole machine (mullvadvpn-app#9655), is the same
// phone: that is said of the one that the hub has let go, and no proxy is blamed.
func TestCopyOfThePhone(t *testing.T) {
	t.Parallel()
	real := realHub(t)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: real.URL}}, view{})
	p.WaitFor("import('/core.js').then((core) => core.state()).then((s) => s.hub.connected)")
	p.Do(connectsAsThePhone)
	p.Wants("This phone is connected elsewhere", "use one, and close the other")
}

// saidOfReach is what a program says that Node runs with reach.js.
func saidOfReach(t *testing.T, look string) string {
	t.Helper()
	reach, err := os.ReadFile(filepath.Join(root, "web/phone/static/reach.js"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"reach.mjs": string(reach), "look.mjs": look} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := program(ctx, dir, "node", filepath.Join(dir, "look.mjs"), filepath.Join(dir, "reach.mjs"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// standsIn answers at the hub's address.
func standsIn(t *testing.T, url string, answers http.HandlerFunc) (end func()) {
	t.Helper()
	if answers == nil {
		return func() {}
	}
	var l net.Listener
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if l, err = net.Listen("tcp", "127.0.0.1:"+url[strings.LastIndex(url, ":")+1:]); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answers, ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	return func() { _ = server.Close(); <-done }
}

// The phone's clock is three days ahead: the two pair, each says so, and what
// cannot be signed is refused with the cause and what to do.
func TestClocksDaysApart(t *testing.T) {
	t.Parallel()
	real := realHub(t)
	agent := web.StartAgent(t, real.URL)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: real.URL}}, view{before: lens, now: time.Now().UTC().Add(72 * time.Hour)})
	p.Authenticator(browser.AuthenticatorOptions{})
	p.Wants("Your SSH keys, on this phone")
	p.pairs(agent)
	p.Wants("Clocks differ")
	p.makeKey("everywhere", "Ed25519")
	agent.MustVmux("keys", "refresh")
	dir, line := t.TempDir(), browser.Eval[string](p, "import('/core.js').then((core) => core.state()).then((s) => s.identities[0].publicKey)")
	for _, name := range []string{"text", "key.pub"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-f", "key.pub", "-n", "file", "text")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "SSH_AUTH_SOCK="+agent.Socket)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err == nil || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %v %s", time.Since(began), err, out)
	}
	var s struct {
		Warnings    []string
		LastFailure struct{ Sentence, Hint string }
	}
	if err := json.Unmarshal([]byte(agent.MustVmux("status", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(s.Warnings, " "), "Clocks differ by 259") ||
		!strings.Contains(s.LastFailure.Sentence, "Clocks differ by 259") || !strings.Contains(s.LastFailure.Hint, "timedatectl set-ntp true") {
		t.Errorf("vmux status: %+v", s)
	}
}
