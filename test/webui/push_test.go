package webui

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// Settings say how it stands with being rung, and what to do.
func TestSettingsOfNotifications(t *testing.T) {
	for push, wants := range map[string][]string{
		"on":     {"Notify me when a request waits", "Ring me"},
		"off":    {"Notify me when a request waits"},
		"broken": {"This phone cannot be rung", "Brave is set to use no push service. Turn on", "Tap to try again."},
		"denied": {"Blocked", "Brave is set"},
	} {
		p := open(t, startHub(t), view{path: "#settings", options: map[string]any{"state": map[string]any{"support": map[string]any{
			"webauthn": true, "prf": "yes", "platformAuthenticator": true, "persisted": true, "push": push,
			"pushProblem": map[string]string{"code": "pushBrave", "message": "Brave is set to use no push service.", "hint": "Turn on “Use Google services for push messaging”."},
		}}}})
		p.Wants(wants...)
		switch push {
		case "broken":
			p.Do("document.querySelector('[data-key=\"push-again\"]').click()")
			p.WaitFor("fake.calls.some((c) => c.name === 'subscribePush')")
		case "on":
			p.Do("fake.answers.testPush = { arrived: false }; document.querySelector('[data-key=\"ring-me\"]').click()")
			p.Wants("nothing has arrived within 30 seconds")
			p.Do("fake.answers.testPush = { arrived: true }; document.querySelector('[data-key=\"ring-me\"]').click()")
			p.Wants("this phone can be rung")
		}
	}
}
