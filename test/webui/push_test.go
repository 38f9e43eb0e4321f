package webui

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/test/browser"
)

// ofWorker runs the service worker's code beside a browser's stand-in, and prints what it
// has shown and told its pages.
const ofWorker = `
const [file, event, visible, refuses] = process.argv.slice(1);
const handlers = {}, shown = [], told = [];
const page = { visibilityState: visible, postMessage: (m) => told.push(m) };
const self = {
	registration: { scope: 'https://hub.example/', showNotification: async (title, options) => {
		if (refuses) throw new DOMException('no permission', 'NotAllowedError');
		shown.push({ title, ...options });
	} },
	clients: { matchAll: async () => visible ? [page] : [] },
	addEventListener: (name, f) => { handlers[name] = f; },
};
new Function('self', require('fs').readFileSync(file, 'utf8'))(self);
const waits = [];
for (let i = 0; i < 2; i++) handlers[event]({ waitUntil: (p) => waits.push(p) });
Promise.all(waits).then(() => console.log(JSON.stringify({ shown, told })));
`

// What the worker does of itself, with no page or one, and without the permission.
func TestWorkerNotifies(t *testing.T) {
	t.Parallel()
	sw, err := filepath.Abs(filepath.Join(root, "web/phone/static/sw.js"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		event, visible, refuses string
		shown                   int
		title, told             string
	}{
		{"push", "", "", 2, "A request is waiting", ""},
		{"push", "visible", "", 2, "A request is waiting", `{"problem":"","type":"woken"}`}, // iOS: each has to be shown
		{"push", "hidden", "yes", 0, "", `{"problem":"NotAllowedError","type":"woken"}`},
		{"pushsubscriptionchange", "", "", 2, "Open vmux once", ""},
		{"pushsubscriptionchange", "hidden", "", 2, "Open vmux once", `{"type":"subscription"}`}, // a page that is frozen
		{"pushsubscriptionchange", "visible", "", 0, "", `{"type":"subscription"}`},
		{"pushsubscriptionchange", "", "yes", 0, "", ""},
	} {
		out, err := program(ctx, t.TempDir(), "node", "-e", ofWorker, sw, c.event, c.visible, c.refuses)
		var did struct {
			Shown []struct {
				Title, Tag string
				Renotify   bool
			}
			Told []map[string]string
		}
		if err != nil || json.Unmarshal([]byte(out), &did) != nil {
			t.Errorf("%+v: %v\n%s", c, err, out)
			continue
		}
		told, _ := json.Marshal(did.Told)
		if len(did.Shown) != c.shown || strings.Contains(string(told), "type") != (c.told != "") || !strings.Contains(string(told), c.told) {
			t.Errorf("%+v: %s", c, out)
		}
		for _, n := range did.Shown {
			if n.Title != c.title || n.Tag == "" || c.event == "push" && !n.Renotify {
				t.Errorf("%+v: a second one makes no sound, or says another thing: %+v", c, n)
			}
		}
	}
}

// pushing is a browser whose person lets the app notify, with a push service that takes
// whoever comes; the time that is waited for a notification is short.
const pushing = `{
	globalThis.Notification = class { static permission = 'granted'; static requestPermission = async () => 'granted'; };
	PushManager.prototype.getSubscription = async () => null;
	PushManager.prototype.subscribe = async () => ({ endpoint: 'https://push.example.org/1', toJSON: () => ({ endpoint: 'https://push.example.org/1' }), unsubscribe: async () => true });
	const later = setTimeout;
	globalThis.setTimeout = (f, delay, ...args) => later(f, delay === 30000 ? 500 : delay, ...args);
};`

// Settings say how it stands with being woken, and what to do.
func TestSettingsOfNotifications(t *testing.T) {
	t.Parallel()
	settings := func(before string) *tab {
		p := open(t, startHub(t), view{before: pushing + before, path: "#settings"})
		p.Wants("Notify me when a request waits") // off, as it begins
		return p
	}
	p := settings("")
	p.call("subscribePush", nil)
	p.Wants("Notify me when a request waits", "Ring me")
	p.Click("[data-key=ring-me]")
	p.Wants("nothing has arrived within 30 seconds")

	brave := settings("if (localStorage.brave) { " + browser.QuirkScript(t, "brave-push") + " }")
	brave.call("subscribePush", nil)
	brave.Wants("Ring me")
	brave.Do("localStorage.brave = 'yes'")
	brave.Reload()
	brave.Wants("This phone cannot be rung", "Brave is set to use no push service. Turn on", "Tap to try again.")
	brave.Click("[data-key=push-again]")
	brave.WaitFor("document.querySelector('.note.bad')?.innerText.includes('Brave')")
	brave.Do("Notification.permission = 'denied'")
	brave.call("rename", map[string]any{"name": "pocket"})
	brave.Wants("Blocked", "Then come back.")
}
