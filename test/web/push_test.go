package web

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// pushService takes the place of the one that the browser's maker runs on the internet:
// the hub's half is a real server, the browser's half a stand-in for PushManager. What
// the app does with its subscription is the app's own.
type pushService struct {
	server *httptest.Server
	mu     sync.Mutex
	status int
	pushed []string // paths
	taken  func()   // called for each push that it takes
}

// standIn keeps what the browser keeps: whether the site may notify, and one
// subscription, also over a reload of the page.
const standIn = `((service, keys) => {
	const memory = (name) => JSON.parse(localStorage['stand-in-' + name] ?? 'null');
	const keep = (name, value) => { localStorage['stand-in-' + name] = JSON.stringify(value); };
	Object.defineProperty(Notification, 'permission', { configurable: true, get: () => memory('permission') ?? 'default' });
	Notification.requestPermission = async () => { keep('permission', memory('permission') ?? 'granted'); return Notification.permission; };
	const permission = new EventTarget();
	Object.defineProperty(permission, 'state', { get: () => Notification.permission.replace('default', 'prompt') });
	navigator.permissions.query = async () => permission;
	globalThis.setPermission = (value) => { keep('permission', value); permission.onchange?.(); };
	const subscription = () => {
		const kept = memory('subscription');
		return kept && {
			endpoint: kept.endpoint, expirationTime: null, options: { applicationServerKey: new Uint8Array(kept.key).buffer },
			toJSON: () => ({ endpoint: kept.endpoint, expirationTime: null, keys }),
			unsubscribe: async () => { keep('subscription', null); return true; },
		};
	};
	PushManager.prototype.getSubscription = async () => subscription();
	PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
		keep('number', (memory('number') ?? 0) + 1);
		keep('subscription', { endpoint: service + '/' + memory('number'), key: Array.from(new Uint8Array(applicationServerKey)) });
		return subscription();
	};
})`

// withPush is a hub that reaches the stand-in, and a tab of the browser in which the app
// will find it.
func withPush(t *testing.T, b *Browser) (*world, *pushService) {
	s := &pushService{status: http.StatusCreated}
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pushed = append(s.pushed, r.URL.Path)
		if s.status == http.StatusCreated && s.taken != nil {
			s.taken()
		}
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.server.Close)
	w := &world{hub: StartHub(t), browser: b}
	w.hub.Stop()
	w.hub.push = x509.NewCertPool()
	w.hub.push.AddCert(s.server.Certificate())
	w.hub.Start()
	w.page = w.tab(t, s)
	return w, s
}

// tab opens a tab whose browser has the stand-in, and no page yet.
func (w *world) tab(t *testing.T, s *pushService) *Page {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := json.Marshal(map[string]string{
		"p256dh": base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), "auth": base64.RawURLEncoding.EncodeToString(make([]byte, 16)),
	})
	page := w.browser.Tab()
	page.BeforeLoad(fmt.Sprintf("(%s)(%q, %s)", standIn, s.server.URL, keys))
	return page
}

func (s *pushService) answers(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *pushService) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pushed) == 0 {
		return ""
	}
	return s.pushed[len(s.pushed)-1]
}

// wakeable is what `vmux status` says of the phone.
type wakeable struct {
	Wakeable              bool
	WakeProblem, WakeHint string
}

func (w *world) wakeable(t *testing.T) wakeable {
	t.Helper()
	var status struct{ Phones []wakeable }
	if err := json.Unmarshal([]byte(w.agent.MustVmux("status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Phones) != 1 {
		return wakeable{}
	}
	return status.Phones[0]
}

func (w *world) waitWakeable(t *testing.T, problem string) {
	t.Helper()
	waitFor(t, "the computer knows that it can wake it, or why not: "+problem, func() bool {
		r := w.wakeable(t)
		return r.Wakeable == (problem == "") && strings.Contains(r.WakeProblem, problem)
	})
}

func (w *world) wantPush(t *testing.T, want string) {
	t.Helper()
	w.page.WaitState("notifications are "+want, func(s State) bool { return s.Support.Push == want })
}

// start opens the app, pairs it, and turns notifications on.
func (w *world) startPush(t *testing.T) {
	t.Helper()
	w.page.Go(w.hub.URL + "/")
	w.agent = StartAgent(t, w.hub.URL)
	w.agent.Pair(w.page)
	w.waitWakeable(t, "notifications are off")
	w.page.MustCall("subscribePush", nil, nil)
	w.waitWakeable(t, "")
	w.wantPush(t, "on")
}

// The subscription goes to the hub, and the computers learn that the phone can
// be woken. `vmux ring` tries it.
func TestPushSubscription(t *testing.T) {
	w, s := withPush(t, NewBrowser(t))
	w.startPush(t)
	if out := w.agent.MustVmux("ring"); !strings.Contains(out, " was rung: its push service has taken it\n") || s.last() != "/1" {
		t.Errorf("pushed to %q: %s", s.last(), out)
	}
	w.page.MustCall("unsubscribePush", nil, nil)
	w.waitWakeable(t, "notifications are off")
	w.wantPush(t, "off")
	w.cannotWake(t, "notifications are off")
}

// cannotWake runs `vmux ring`, which fails.
func (w *world) cannotWake(t *testing.T, why string) {
	t.Helper()
	cmd := w.agent.Vmux(deadline(t), "ring")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), why) || !strings.Contains(string(out), "hint: ") {
		t.Errorf("vmux ring: %v\n%s", err, out)
	}
}

// A subscription that its push service has ended: the computer learns it, the hub takes
// it no more, and the app makes another, past what Chromium gives out in between.
func TestDeadSubscriptionIsReplaced(t *testing.T) {
	w, s := withPush(t, NewBrowser(t))
	w.startPush(t)
	s.answers(http.StatusGone)
	w.cannotWake(t, "no push subscription")
	w.waitWakeable(t, "no push subscription")
	s.answers(http.StatusCreated)
	w.page.Quirk("subscription-died", 2)
	w.page.Reload()
	w.waitWakeable(t, "")
	w.wantPush(t, "on")
	w.agent.MustVmux("ring")
	if s.last() != "/4" { // 2 and 3 are hidden behind made-up ones
		t.Errorf("woken at %s", s.last())
	}
}

// renewsUntilGoOn has the app renew its subscription, and wait in the middle for goOn().
func (w *world) renewsUntilGoOn() {
	w.page.Check(`(() => {
		localStorage['stand-in-subscription'] = 'null';
		const { subscribe } = PushManager.prototype;
		PushManager.prototype.subscribe = async function (options) {
			globalThis.renewing = true;
			await new Promise((resolve) => { globalThis.goOn = resolve; });
			const made = await subscribe.call(this, options);
			globalThis.made = true;
			return made;
		};
		setPermission('granted');
		return true;
	})()`)
	w.page.WaitFor("globalThis.renewing === true")
}

// Who turns notifications off while the app renews its subscription has them off.
func TestTurnedOffDuringARenewal(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.startPush(t)
	w.renewsUntilGoOn()
	w.page.MustCall("unsubscribePush", nil, nil)
	w.page.Do(`globalThis.goOn()`)
	w.page.WaitFor("globalThis.made === true && localStorage['stand-in-subscription'] === 'null'")
	w.wantPush(t, "off")
	w.waitWakeable(t, "notifications are off")
}

// A permission that is taken back while the app renews its subscription is taken back.
func TestPermissionRevokedDuringARenewal(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.startPush(t)
	w.renewsUntilGoOn()
	w.page.Do(`setPermission('denied'); globalThis.goOn()`)
	w.waitWakeable(t, "does not let the app notify")
}

// What fails once, as on a phone that is too slow for a time limit, is tried again though
// nothing happens.
func TestFailedRenewalIsTriedAgain(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.startPush(t)
	w.page.Check(`(() => {
		localStorage['stand-in-subscription'] = 'null';
		const own = { subscribe: PushManager.prototype.subscribe, setTimeout: globalThis.setTimeout };
		PushManager.prototype.subscribe = async () => { throw new DOMException('Registration failed - push service error', 'AbortError'); };
		globalThis.setTimeout = (work, time) => {
			if (time < 60000) {
				return own.setTimeout.call(globalThis, work, time);
			}
			globalThis.minuteLater = () => { PushManager.prototype.subscribe = own.subscribe; work(); };
			return 0;
		};
		setPermission('granted');
		return true;
	})()`)
	w.waitWakeable(t, "do not work there")
	w.page.WaitFor("Boolean(globalThis.minuteLater)")
	w.page.Do("globalThis.minuteLater()")
	w.waitWakeable(t, "")
	w.wantPush(t, "on")
}

// A push service that answers no more: Settings and the computers say so.
func TestPushServiceFallsSilent(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.startPush(t)
	w.page.Quirk("push-never-answers", 20)
	w.page.Do(`localStorage['stand-in-subscription'] = 'null'`)
	w.page.Reload()
	w.wantPush(t, "broken")
	w.waitWakeable(t, "do not work there")
	w.page.Go(w.hub.URL + "/#settings")
	w.page.Wants("This phone cannot be rung The browser’s push service does not answer.")
}

// The permission is revoked while the app is closed, and while it is open, and given
// again: the computers hear of it.
func TestPermissionRevoked(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.startPush(t)
	w.page.Do(`localStorage['stand-in-permission'] = '"denied"'`)
	w.page.Reload()
	w.waitWakeable(t, "does not let the app notify")
	w.wantPush(t, "denied")
	for _, c := range []struct{ permission, push, problem string }{
		{"granted", "on", ""}, {"denied", "denied", "does not let the app notify"}, {"granted", "on", ""}, {"default", "broken", "does not let the app notify"},
	} {
		w.page.Do(fmt.Sprintf("setPermission(%q)", c.permission))
		w.waitWakeable(t, c.problem)
		w.wantPush(t, c.push)
	}
	w.page.Go(w.hub.URL + "/#settings")
	w.page.Wants("The browser has taken back the permission to notify.")
	// In Safari, and in an Android app beside its tab, nothing tells of a change: who comes back
	// from the device's settings, however soon, finds it noticed (OneSignal-Website-SDK #1491).
	for _, c := range []struct{ permission, problem string }{{"granted", ""}, {"denied", "does not let the app notify"}} {
		w.page.Do(fmt.Sprintf(`localStorage['stand-in-permission'] = '%q'; document.dispatchEvent(new Event('visibilitychange'))`, c.permission))
		w.waitWakeable(t, c.problem)
	}
}

// Each failure has its cause, soon, and none is the store's.
func TestCausesOfNoNotifications(t *testing.T) {
	w, s := withPush(t, NewBrowser(t))
	for _, c := range []struct {
		code, quirk, words string
		args               []any
	}{
		{"pushBrave", "brave-push", "Use Google services for push messaging", nil},
		{"pushNoService", "brave-push", "push service error", []any{false}},
		{"pushFailed", "brave-push", "Open the browser anew", []any{false, true}},
		{"pushNoWorker", "no-worker", "service worker", nil},
		{"pushKey", "other-server-key", "Take back this site’s permission", []any{false}},
		{"", "other-server-key", "", []any{true}},
		{"pushDeniedBySystem", "permission-answer", "settings of this device", []any{"denied"}},
		{"pushDenied", "permission-answer", "for this site in the browser’s settings", []any{"denied", "denied"}},
		{"pushUnanswered", "permission-answer", "allow it", []any{"default"}},
		{"pushSlow", "push-never-answers", "does not answer", []any{20}},
		{"pushDead", "subscription-died", "only subscriptions that have ended", []any{9}},
	} {
		name := fmt.Sprint(c.quirk, c.args)
		page := w.tab(t, s)
		page.BeforeLoad("localStorage.removeItem('stand-in-subscription')")
		page.Quirk(c.quirk, c.args...)
		page.Go(w.hub.URL + "/")
		page.WaitFor("document.documentElement.dataset.ready === 'true'")
		page.WaitHub()
		err := page.Call("subscribePush", nil, nil)
		f, failed := err.(*Failure)
		if failed != (c.code != "") || failed && (f.Code != c.code || f.Hint == "" || !strings.Contains(f.Message+f.Hint, c.words) || strings.Contains(f.Message, "stores")) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// The permission is asked for by the tap itself: some browsers refuse what has waited.
func TestPermissionIsAskedStraightFromTheTap(t *testing.T) {
	w, _ := withPush(t, NewBrowser(t))
	w.page.Quirk("permission-needs-tap")
	w.page.Go(w.hub.URL + "/#settings")
	w.page.WaitFor("navigator.serviceWorker.controller !== null") // for which a tap waits no more than 5 s
	w.page.Click(`[data-key="switch-Notify me when a request waits"]`)
	w.wantPush(t, "on")
}

// *Ring me*: the hub's push arrives at the app's worker, whose notification sounds each
// time, and goes when the person looks at the app.
func TestRingMe(t *testing.T) {
	w, s := withPush(t, StartBrowser(t)) // with notifications
	s.taken = func() { go w.page.Push(w.hub.URL, "x") }
	w.page.Allow(w.hub.URL, "notifications")
	w.startPush(t)
	w.page.WaitFor("navigator.serviceWorker.controller !== null")
	w.page.Go(w.hub.URL + "/#settings")
	const shown = `(await (await navigator.serviceWorker.ready).getNotifications())`
	// Looked at as soon as it is told of: Chromium takes notifications away after 25 s.
	w.page.Check(`(() => {
		globalThis.first = new Promise((resolve) => navigator.serviceWorker.addEventListener('message', async () => resolve(` + shown + `[0]), { once: true }));
		return true;
	})()`)
	w.page.Click(`[data-key="ring-me"]`)
	w.page.Wants("The notification has arrived: this phone can be rung.")
	w.page.Check(`(async () => { const n = await globalThis.first; return n.tag === 'vmux-request' && n.renotify !== false; })()`)
	w.page.Check(`(async () => {
		document.dispatchEvent(new Event('visibilitychange')); // the page is visible
		while (` + shown + `.length > 0) await new Promise((r) => setTimeout(r, 20));
		return true;
	})()`)
	// A wake-up while the app is looked at leaves nothing behind, and reaches the app.
	w.page.Check(`(async () => {
		globalThis.wakes = 0;
		navigator.serviceWorker.addEventListener('message', ({ data }) => { globalThis.wakes += data.type === 'woken'; });
		return true;
	})()`)
	w.agent.MustVmux("ring")
	w.page.WaitFor("globalThis.wakes === 1")
	w.page.Check(`(async () => { while (` + shown + `.length > 0) await new Promise((r) => setTimeout(r, 20)); return true; })()`)
}
