package webui

import (
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
)

// versionShown is the hash that Settings shows as the one in use.
const versionShown = "document.querySelector('.hash')?.textContent.replaceAll(' ', '')"

// The app opens without the hub, and all of it.
func TestOfflineStart(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	p.waitFor("navigator.serviceWorker.controller")
	h.Close()
	p.run(chromedp.Navigate(h.URL + "/"))
	p.waitFor("document.documentElement.dataset.ready === 'true'")
	for _, s := range []string{"identities", passkey, "ca", "pair", "activity", "settings"} {
		p.screen(s)
	}
	p.waitFor(versionShown + " === " + quoted(h.app.Version()))
	p.tolerate("net::ERR_CONNECTION_REFUSED") // the browser looks for another sw.js
}

// Another version waits until the user accepts it, also when the app was closed
// in between, and what it is called is shown before.
func TestUpdateWaitsForTheUser(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.waitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	second := h.app.Version()
	if first == second {
		t.Fatal("another file is no other version")
	}
	p.do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.waitFor("document.querySelector('.dot') !== null") // the mark at Settings
	p.run(chromedp.Navigate("about:blank"))              // nobody uses the first version now
	for range 2 {
		p.run(chromedp.Navigate(h.URL + "/#settings"))
		p.wants("A new version is there")
		p.waitFor("document.querySelector('.callout .hash').textContent.replaceAll(' ', '') === " + quoted(second))
		if used := eval[string](p, "import('./version.js').then((m) => m.version)"); used != first {
			t.Fatalf("version %s is in use before it was accepted", used)
		}
		if status := eval[int](p, "fetch('views/new.js').then((r) => r.status)"); status != http.StatusNotFound {
			t.Errorf("a program of the other version is answered with %d", status)
		}
		p.run(chromedp.Navigate("about:blank"))
	}
	p.run(chromedp.Navigate(h.URL + "/#settings"))
	p.tap("Use this version")
	p.waitFor("document.documentElement.dataset.ready === 'true' && document.querySelector('.callout .hash') === null && " + versionShown + " === " + quoted(second))
	if kept := eval[string](p, "caches.keys().then((keys) => keys.sort().join())"); kept != "vmux-app-"+second+",vmux-state" {
		t.Errorf("the stores are %s", kept)
	}
	p.tolerate("/views/new.js")
}

// A hub whose files are not those that it lists gets none of them installed.
func TestUpdateOfWrongFiles(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.waitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	honest := h.handler
	h.mu.Lock()
	h.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/views/home.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte("// another home\n"))
			return
		}
		honest.ServeHTTP(w, r)
	})
	h.mu.Unlock()
	outcome := eval[string](p, `(async () => {
		const r = await navigator.serviceWorker.getRegistration();
		await r.update();
		const worker = r.installing;
		while (worker && worker.state === 'installing') {
			await new Promise((r) => setTimeout(r, 20));
		}
		return (worker?.state ?? 'none') + ' ' + Boolean(r.waiting);
	})()`)
	if outcome != "redundant false" {
		t.Errorf("the worker of wrong files is %s", outcome)
	}
	p.run(chromedp.Reload())
	p.screen("settings")
	p.waitFor(versionShown + " === " + quoted(first))
	p.tolerate("is not the file that belongs to version")
}

// A version that was never accepted, and that the hub has taken back, is offered no
// more; and that the hub cannot be asked is said in plain words.
func TestUpdateThatIsTakenBack(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.waitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	p.do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.waitFor("document.querySelector('.dot') !== null")
	p.run(chromedp.Navigate("about:blank"))
	p.run(chromedp.Navigate(h.URL + "/#settings"))
	p.wants("A new version is there")
	h.serve(nil)
	// The browser may be looking by itself just now, and one look counts for both.
	p.do("while (document.querySelector('.dot')) { await (await navigator.serviceWorker.getRegistration()).update(); await new Promise((r) => setTimeout(r, 300)); }")
	p.waitFor("document.querySelector('.dot') === null && " + versionShown + " === " + quoted(first))
	h.Close()
	p.do("document.querySelector('[data-key=check-version]').click()")
	p.wants("The hub did not say whether there is another version.", "Look again when the app is online.")
	p.tolerate("net::ERR_CONNECTION_REFUSED")
}

// Whatever else the hub serves at its address is not the app's to answer.
func TestWorkerLeavesOtherPagesAlone(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	p.waitFor("navigator.serviceWorker.controller")
	if status := eval[int](p, "fetch('ws').then((r) => r.status)"); status != http.StatusNotFound {
		t.Errorf("the hub's answer became %d", status)
	}
	p.tolerate("404")
}

func TestStartError(t *testing.T) {
	p := open(t, startHub(t), view{options: map[string]any{"startError": map[string]any{
		"code": "storage", "message": "The browser does not keep what vmux stores.", "hint": "Leave private browsing."}}})
	p.wants("The app could not start", "The browser does not keep what vmux stores.", "Leave private browsing.", "Try again")
}
