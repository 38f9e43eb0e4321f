package webui

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/test/browser"
)

// troubled opens an app whose service worker's stores come to behave as the tests tell it.
func troubled(t *testing.T) *tab {
	t.Helper()
	worker, err := os.ReadFile(filepath.Join(root, "web/phone/static/sw.js"))
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t)
	h.serve(map[string]string{"sw.js": browser.QuirkScript(t, "lost-database-server") + ";\n" + browser.QuirkScript(t, "hung-transaction") + `;
		background.caches = () => { caches.open = () => new Promise(() => {}); };
		background.bodies = () => { Cache.prototype.match = async () => new Response(new ReadableStream({})); };
		addEventListener('message', ({ data, ports }) => {
			if (data.background) {
				background[data.background[0]](...data.background.slice(1));
				ports[0].postMessage('done');
			}
		});
		` + hasty(t, string(worker))})
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller?.state === 'activated'")
	t.Cleanup(func() { p.Tolerate("favicon.ico"); p.Tolerate("503") })
	return p
}

// hasty is the worker with less patience for what never comes in the test.
func hasty(t *testing.T, worker string) string {
	t.Helper()
	const patient = "readPatience = 20000"
	if !strings.Contains(worker, patient) {
		t.Fatalf("the worker has no %q", patient)
	}
	return strings.Replace(worker, patient, "readPatience = 500", 1)
}

// trouble makes the worker's stores so, and opens the app again.
func (p *tab) trouble(kind string, args ...any) {
	p.t.Helper()
	message, err := json.Marshal(append([]any{kind}, args...))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Do("await new Promise((resolve) => { const c = new MessageChannel(); c.port1.onmessage = resolve; navigator.serviceWorker.controller.postMessage({background: " + string(message) + "}, [c.port2]); })")
	p.Go(p.hub.URL + "/?again#settings")
}

// A service worker that has lost its database once or for good, or gets no answer from it,
// serves the accepted version by what else it has kept.
func TestWorkerWithADeadDatabase(t *testing.T) {
	t.Parallel()
	for _, c := range [][]any{{"lost-database-server", 1}, {"lost-database-server", 1000000}, {"hung-transaction", 1}, {"hung-transaction", 1000000}} {
		p := troubled(t)
		p.trouble(c[0].(string), c[1:]...)
		p.WaitFor("location.search === '?again' && " + versionShown + " === " + browser.Quoted(p.hub.app.Version()))
		p.WaitFor("document.querySelector('.dot') === null")
	}
}

// What cannot be read is not lost: the page says what to do, and offers no other version.
func TestWorkerWhoseStoresDoNotAnswer(t *testing.T) {
	t.Parallel()
	p := troubled(t)
	p.Do("await new Promise((resolve) => { const c = new MessageChannel(); c.port1.onmessage = resolve; navigator.serviceWorker.controller.postMessage({background: ['caches']}, [c.port2]); })")
	p.trouble("hung-transaction", 1000000)
	p.Wants("The app could not start", "does not answer", "Close the app and open it again")
	if browser.Eval[bool](p, "document.querySelector('code, button') !== null") {
		t.Error("another version is offered")
	}
}

// Files that a browser's store begins to give and never ends are loaded again.
func TestWorkerWhoseFilesNeverEnd(t *testing.T) {
	t.Parallel()
	p := troubled(t)
	p.trouble("bodies")
	p.WaitFor("location.search === '?again' && " + versionShown + " === " + browser.Quoted(p.hub.app.Version()))
}

// A worker that cannot tidy up its stores when it takes over still takes over: browsers
// keep back pushes, and what pages ask for, until it has.
func TestWorkerThatCannotTidyUp(t *testing.T) {
	t.Parallel()
	h, p := installed(t)
	worker, err := os.ReadFile(filepath.Join(root, "web/phone/static/sw.js"))
	if err != nil {
		t.Fatal(err)
	}
	h.serve(map[string]string{"sw.js": "caches.keys = () => new Promise(() => {});\n" + string(worker)})
	p.Do("globalThis.own = await navigator.serviceWorker.getRegistration(); globalThis.before = own.active; await own.update();")
	p.WaitFor("own.active !== before && own.active.state === 'activated'")
}

// A file that fits the accepted list is served though there is no space to keep it.
func TestFileThatCannotBeKept(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	worker, err := os.ReadFile(filepath.Join(root, "web/phone/static/sw.js"))
	if err != nil {
		t.Fatal(err)
	}
	h.serve(map[string]string{"sw.js": `addEventListener('message', ({ data, ports }) => {
			if (data === 'full') {
				Cache.prototype.put = async () => { throw new DOMException('Quota exceeded.', 'QuotaExceededError'); };
				ports[0].postMessage('done');
			}
		});
		` + string(worker)})
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller?.state === 'activated'")
	t.Cleanup(func() { p.Tolerate("favicon.ico") })
	p.Do(forgetFile(h))
	p.Do("await new Promise((resolve) => { const c = new MessageChannel(); c.port1.onmessage = resolve; navigator.serviceWorker.controller.postMessage('full', [c.port2]); })")
	p.Go(p.hub.URL + "/?again#settings")
	p.WaitFor("location.search === '?again' && " + versionShown + " === " + browser.Quoted(h.app.Version()))
}

// A page whose program does not come says what to do, though nothing of it runs.
func TestPageWithoutItsProgram(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	var honest http.Handler
	honest = h.handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/core.js" {
			<-r.Context().Done()
			return
		}
		honest.ServeHTTP(w, r)
	}))
	p := open(t, h, view{width: 320, height: 568, path: "icons/icon.svg"})
	p.Do("location.href = " + browser.Quoted(h.URL+"/")) // which is never loaded to its end
	p.Wants("Opening…")
	if browser.Eval[bool](p, "document.body.innerText.includes('Nothing yet?')") {
		t.Error("it complains at once")
	}
	p.Do("document.getAnimations().forEach((a) => a.finish())") // 25 seconds later
	p.Wants("See that this device is online, then close the app and open it again.")
	p.Tolerate("core.js")
	p.Tolerate("favicon.ico")
}
