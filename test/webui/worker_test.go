package webui

import (
	"net/http"
	"testing"

	"vmux/test/browser"
)

// versionShown is the hash that Settings shows as the one in use.
const versionShown = "Array.from(document.querySelectorAll('.hash')).at(-1)?.textContent.replaceAll(' ', '')"

// The app opens without the hub, and all of it.
func TestOfflineStart(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller")
	h.gone()
	p.Go(h.URL + "/")
	p.WaitFor("document.documentElement.dataset.ready === 'true'")
	for _, s := range []string{"identities", "ca", "pair", "activity", "settings"} {
		p.Screen(s)
	}
	p.WaitFor(versionShown + " === " + browser.Quoted(h.app.Version()))
	p.Tolerate("net::ERR_") // the browser looks for another sw.js
}

// Another version waits until the user accepts it, also when the app was closed
// in between, and what it is called is shown before.
func TestUpdateWaitsForTheUser(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.WaitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	second := h.app.Version()
	if first == second {
		t.Fatal("another file is no other version")
	}
	p.Do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.WaitFor("document.querySelector('.dot') !== null") // the mark at Settings
	p.Go("about:blank")                                  // nobody uses the first version now
	for range 2 {
		p.Go(h.URL + "/#settings")
		p.Wants("A new version is there")
		p.WaitFor("document.querySelector('.callout .hash').textContent.replaceAll(' ', '') === " + browser.Quoted(second))
		if used := browser.Eval[string](p, "import('./version.js').then((m) => m.version)"); used != first {
			t.Fatalf("version %s is in use before it was accepted", used)
		}
		if status := browser.Eval[int](p, "fetch('views/new.js').then((r) => r.status)"); status != http.StatusNotFound {
			t.Errorf("a program of the other version is answered with %d", status)
		}
		p.Go("about:blank")
	}
	p.Go(h.URL + "/#settings")
	p.Tap("Use this version")
	p.WaitFor("document.documentElement.dataset.ready === 'true' && document.querySelector('.callout .hash') === null && " + versionShown + " === " + browser.Quoted(second))
	if kept := browser.Eval[string](p, "caches.keys().then((keys) => keys.sort().join())"); kept != "vmux-app-"+second+",vmux-state" {
		t.Errorf("the stores are %s", kept)
	}
	p.Tolerate("/views/new.js")
}

// A hub whose files are not those that it lists gets none of them installed.
func TestUpdateOfWrongFiles(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.WaitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	var honest http.Handler
	honest = h.handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/views/home.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte("// another home\n"))
			return
		}
		honest.ServeHTTP(w, r)
	}))
	outcome := browser.Eval[string](p, `(async () => {
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
	p.Reload()
	p.Screen("settings")
	p.WaitFor(versionShown + " === " + browser.Quoted(first))
	p.Tolerate("is not the file that belongs to version")
}

// A version that was never accepted, and that the hub has taken back, is offered no
// more; and that the hub cannot be asked is said in plain words.
func TestUpdateThatIsTakenBack(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	first := h.app.Version()
	p.WaitFor("navigator.serviceWorker.controller")
	h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
	p.Do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.WaitFor("document.querySelector('.dot') !== null")
	p.Go("about:blank")
	p.Go(h.URL + "/#settings")
	p.Wants("A new version is there")
	h.serve(nil)
	// The browser may be looking by itself just now, and one look counts for both.
	p.Do("while (document.querySelector('.dot')) { await (await navigator.serviceWorker.getRegistration()).update(); await new Promise((r) => setTimeout(r, 300)); }")
	p.WaitFor("document.querySelector('.dot') === null && " + versionShown + " === " + browser.Quoted(first))
	h.gone()
	p.Do("document.querySelector('[data-key=check-version]').click()")
	p.Wants("The hub did not say whether there is another version.", "Look again when the app is online.")
	p.Tolerate("net::ERR_")
}

// Whatever else the hub serves at its address is not the app's to answer.
func TestWorkerLeavesOtherPagesAlone(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller")
	if status := browser.Eval[int](p, "fetch('ws').then((r) => r.status)"); status != http.StatusNotFound {
		t.Errorf("the hub's answer became %d", status)
	}
	p.Tolerate("404")
}

func TestStartError(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: "Object.defineProperty(globalThis, 'indexedDB', {value: undefined});"})
	p.Wants("The app could not start", "The browser does not keep what vmux stores (this browser has no IndexedDB).", "Leave private browsing", "Try again")
}
