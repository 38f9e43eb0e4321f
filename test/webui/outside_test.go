package webui

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Reports of others' apps, tried on this one.

// An iPhone goes on with the page of last week, whose timers have stood still, and asks for
// another worker only when a page is loaded (pi-web#9, vite-plugin-pwa#524). It may say by
// pageshow alone that the page is back (acoyfellow/my-ax#25).
func TestPageThatComesBackLooksForANewVersion(t *testing.T) {
	t.Parallel()
	for _, back := range []string{
		"document.dispatchEvent(new Event('visibilitychange'))", "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
	} {
		h := startHub(t)
		p := open(t, h, view{path: "#settings"})
		p.WaitFor("navigator.serviceWorker.controller")
		h.serve(map[string]string{"views/new.js": "export const fresh = true;\n"})
		p.Do("const now = Date.now; Date.now = () => now() + 7 * 24 * 3600e3; " + back)
		p.Wants("A new version is there")
	}
}

// An ad blocker, a virus scanner or a proxy that puts something into the page
// (AdguardForAndroid#4009, angular#32770): the browser keeps no worker then, and it is said
// why; once it is exempted, one is kept at the next look.
func TestFileThatIsChangedOnTheWay(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	var honest http.Handler
	honest = h.handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && r.URL.Path != "/index.html" {
			honest.ServeHTTP(w, r)
			return
		}
		r.Header.Set("Accept-Encoding", "identity")
		r.Header.Del("If-None-Match")
		answer := httptest.NewRecorder()
		honest.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			if name != "Content-Length" && name != "Etag" {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(bytes.Replace(answer.Body.Bytes(), []byte("</head>"), []byte(`<meta name="blocker" content="1"></head>`), 1))
	}))
	p := open(t, h, view{path: "#settings"})
	p.Wants("The app’s files do not arrive as they are", "index.html", "an ad blocker", "no notifications")
	h.handle(honest)
	p.Do("document.querySelector('[data-key=check-version]').click()")
	p.WaitFor("navigator.serviceWorker.controller && !document.body.innerText.includes('do not arrive as they are')")
	p.Tolerate("is not the file that belongs to version")
}

// ofOffline looks for the hub where the browser says that there is no network.
const ofOffline = `
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { onLine: false } });
let now = 0;
performance.now = () => now;
const { whyOffline } = await import(process.argv[2]);
for (const answer of [async () => new Response('no', { status: 502 }), async () => { throw new TypeError('Failed to fetch'); }]) {
	globalThis.fetch = answer;
	now += 1e6;
	console.log((await whyOffline(() => {})).title);
}
`

// Browsers take a network without the Internet, or a VPN, for none (mdn/content#30402): a
// hub that answers is believed more.
func TestBrowserThatThinksItIsOffline(t *testing.T) {
	t.Parallel()
	const want = "The hub is out of order\nThis phone has no network"
	if said := saidOfReach(t, ofOffline); said != want {
		t.Errorf("%s; want %s", said, want)
	}
}
