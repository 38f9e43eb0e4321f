package webui

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/debugger"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"vmux/test/browser"
)

// newer is what another version of the app has.
var newer = map[string]string{"views/new.js": "export const fresh = true;\n"}

const (
	forgetFiles = "for (const name of await caches.keys()) { await caches.delete(name); }"
	forgetList  = "await new Promise((resolve) => { indexedDB.deleteDatabase('vmux-version').onsuccess = resolve; });"
)

// forgetFile takes one file away, as a browser does whose disk is damaged.
func forgetFile(h *hub) string {
	return "await (await caches.open('vmux-app-" + h.app.Version() + "')).delete('/views/home.js');"
}

// installed opens an app whose service worker has all files.
func installed(t *testing.T) (*hub, *tab) {
	t.Helper()
	h := startHub(t)
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller")
	t.Cleanup(func() { p.Tolerate("favicon.ico") }) // of pages that are none of the app's
	return h, p
}

// lose runs JavaScript on a page of the same origin that has none of the app, and
// opens the app again.
func (p *tab) lose(script string) {
	p.t.Helper()
	p.Go(p.hub.URL + "/icons/icon.svg")
	p.Do(script)
	p.Go(p.hub.URL + "/#settings")
}

// What a browser has lost of the version in use is loaded again, and nobody notices.
func TestLostFilesComeBack(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*hub) string{
		"one file": forgetFile,
		"one file is another": func(h *hub) string {
			return "await (await caches.open('vmux-app-" + h.app.Version() + "')).put('/views/home.js', new Response('export const home = 1;', {headers: {'content-type': 'text/javascript'}}));"
		},
		"its state":           func(*hub) string { return "await caches.delete('vmux-state');" },
		"its list":            func(*hub) string { return forgetList },
		"all files and state": func(*hub) string { return forgetFiles },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p := installed(t)
			p.lose(script(h))
			p.WaitFor(versionShown + " === " + browser.Quoted(h.app.Version()))
			p.WaitFor("document.querySelector('.dot') === null")
			h.gone()
			p.Go(h.URL + "/#settings")
			p.WaitFor(versionShown + " === " + browser.Quoted(h.app.Version()))
			p.Tolerate("net::ERR_")
		})
	}
}

// What was lost and cannot be had any more is said by a page of the worker's own, and
// the hub's newer file does not run in its place until its version was accepted.
func TestLostFilesOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script func(*hub) string
		says   string
	}{
		"one file":                  {forgetFile, "the hub has others now"},
		"all files and state":       {func(*hub) string { return forgetFiles }, "the hub has others now"},
		"files, state and the list": {func(*hub) string { return forgetFiles + forgetList }, "has lost the list of files that you accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p := installed(t)
			script := c.script(h)
			// One that shows whether it ran.
			h.serve(map[string]string{"views/home.js": "localStorage.setItem('ran', 'yes'); export const home = () => ({title: 'newer', main: []}), showComputer = () => {}, unpair = () => {};"})
			second := h.app.Version()
			p.lose(script)
			p.Wants("The app could not start", c.says, "is not concerned")
			if name == "files, state and the list" { // the old worker's own list is all there is to offer
				p.Do("await (await navigator.serviceWorker.getRegistration()).update()")
			}
			p.WaitFor("document.querySelector('code')?.textContent === " + browser.Quoted(second))
			if browser.Eval[bool](p, "localStorage.getItem('ran') !== null") {
				t.Error("the hub's newer file ran")
			}
			p.Act(chromedp.Evaluate[chromedp.Void]("document.querySelector('button').click()"))
			p.WaitFor(versionShown + " === " + browser.Quoted(second))
			p.Tolerate("503")
		})
	}
}

// What an app of before lists were kept has accepted stays in use.
func TestVersionThatWasAcceptedByItsNameAlone(t *testing.T) {
	t.Parallel()
	h, p := installed(t)
	first := h.app.Version()
	h.serve(newer)
	p.Do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.WaitFor("document.querySelector('.dot') !== null")
	p.lose("await (await caches.open('vmux-state')).put('/accepted', new Response(" + browser.Quoted(first) + "));" + forgetList)
	for range 2 {
		p.Go("about:blank")
		p.Go(h.URL + "/#settings")
		p.Wants("A new version is there")
		if used := browser.Eval[string](p, "import('./version.js').then((m) => m.version)"); used != first {
			t.Fatalf("version %s is in use before it was accepted", used)
		}
	}
}

func TestLostFilesWithoutTheHub(t *testing.T) {
	t.Parallel()
	h, p := installed(t)
	script := forgetFile(h)
	p.Go(h.URL + "/icons/icon.svg")
	p.Do(script)
	h.gone()
	p.Go(h.URL + "/")
	p.Wants("The app could not start", "has lost 1 of the", "the hub cannot be reached")
	p.Tolerate("net::ERR_")
	p.Tolerate("503")
}

// A worker of another version runs as soon as it is installed, also one that the
// browser ended and starts anew, and serves the accepted version all the same.
func TestUnacceptedWorkerServesTheAcceptedVersion(t *testing.T) {
	t.Parallel()
	h, p := installed(t)
	first := h.app.Version()
	h.serve(newer)
	p.Do("await (await navigator.serviceWorker.getRegistration()).update()")
	p.WaitFor("document.querySelector('.dot') !== null")
	p.Do("const r = await navigator.serviceWorker.getRegistration(); while (r.waiting || r.active.state !== 'activated') { await new Promise((s) => setTimeout(s, 20)); }")
	browser.Send(p, serviceworker.Enable, cdp.Empty{})
	for range 3 {
		p.Go("about:blank")
		browser.Send(p, serviceworker.StopAllWorkers, cdp.Empty{})
		p.Go(h.URL + "/#settings")
		p.Wants("A new version is there")
		if used := browser.Eval[string](p, "import('./version.js').then((m) => m.version)"); used != first {
			t.Fatalf("version %s is in use before it was accepted", used)
		}
	}
}

// bypass has the browser load everything past the service worker, as it does by
// itself when the page is reloaded with the shift key.
func (p *tab) bypass(on bool) {
	p.t.Helper()
	browser.Send(p, network.Enable, network.EnableParams{})
	browser.Send(p, network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{Bypass: on})
}

const notRun = "The browser has loaded another version of the app than the one that you accepted. It was not run."

// A page that came past the service worker is loaded again, and if that does not
// help it says so and does not start.
func TestPagePastTheWorker(t *testing.T) {
	t.Parallel()
	h, p := installed(t)
	first := h.app.Version()
	h.serve(newer)
	p.Go("about:blank")
	p.bypass(true)
	p.Go(h.URL + "/#settings")
	p.Wants(notRun)
	if browser.Eval[bool](p, "document.documentElement.dataset.ready === 'true'") {
		t.Error("it started")
	}
	p.bypass(false)
	p.Tap("Try again")
	p.WaitFor(versionShown + " === " + browser.Quoted(first))
}

// While one worker takes over from another Chromium loads files of a page past both
// that the worker has begun. So the page, too, looks where its files came from.
func TestFilesPastTheWorker(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	// Stops before the files are loaded, as often as told to.
	p := open(t, h, view{before: "if (sessionStorage.stops > 0) { sessionStorage.stops--; debugger; }"})
	first := h.app.Version()
	p.WaitFor("navigator.serviceWorker.controller")
	h.serve(newer)
	t.Cleanup(func() { p.Tolerate("favicon.ico") })
	browser.Send(p, debugger.Enable, debugger.EnableParams{})
	p.Go(h.URL + "/icons/icon.svg")
	p.Do("sessionStorage.stops = 2; setTimeout(() => location.assign('/#settings'))")
	for _, past := range []bool{true, false} { // of the page that the worker serves; of what is loaded instead
		p.WaitPaused()
		p.bypass(past)
		browser.Send(p, debugger.Resume, debugger.ResumeParams{})
	}
	p.WaitFor("document.documentElement.dataset.ready === 'true' && " + versionShown + " === " + browser.Quoted(first))
	if by := browser.Eval[bool](p, "performance.getEntriesByType('resource').every((e) => e.workerStart > 0)"); !by {
		t.Error("a file came past the worker")
	}
}

// Home warns while the browser lets the app store little more, and Settings say how
// much that is and whether the browser has promised to keep it.
func TestSpaceAndPersistence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		persisted bool
		estimate  string
		settings  []string
		warning   string
	}{
		{true, "{quota: 5 + (3 << 29), usage: 5}", []string{"Lasting", "The browser has promised not to clear it by itself, unless it is set to forget sites when it closes. 1.5 GB are left."}, ""},
		{false, "{quota: 5 + (12 << 20), usage: 5}", []string{"May be cleared", "Tap to ask it not to. 12 MB are left."}, "The browser lets vmux store 12 MB more."},
		{false, "{quota: 5, usage: 5}", []string{"May be cleared", "0 MB are left."}, "The browser could not store what vmux gave it."},
		{true, "{}", []string{"Lasting", "when it closes. Version"}, ""},
	} {
		p := open(t, startHub(t), view{before: fmt.Sprintf("navigator.storage.persisted = async () => %v; navigator.storage.estimate = async () => (%s);", c.persisted, c.estimate)})
		if c.warning != "" {
			p.Wants("Hardly any space is left", c.warning)
		} else {
			p.Lacks("Hardly any space is left")
		}
		p.Screen("settings")
		p.Wants(c.settings...)
	}
	p := open(t, startHub(t), view{before: "Object.defineProperty(Navigator.prototype, 'vendor', { get: () => 'Apple Computer, Inc.' });"})
	p.Wants("No lasting storage", "used for seven days") // the browser's promise is about space
	p.Screen("settings")
	p.Wants("Will be cleared", "used for seven days", "Add to Dock")
}
