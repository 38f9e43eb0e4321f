// Package webui holds the tests of the phone app's pages: Debian's Chromium shows them,
// served as a hub serves them, and the phone's real core, in this process, answers them
// and computers. What is only there to be looked at is played.
package webui

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"vmux/internal/hub/webapp"
	"vmux/internal/leakcheck"
	"vmux/test/browser"
	"vmux/test/web"
	"vmux/web/phone"
)

// patience is how long a page may take for what it does at once, on a machine that
// has much else to do.
const patience = time.Minute

// root is the module's folder, seen from this package.
const root = "../.."

// TestMain ends the browser, and fails when a test has left a goroutine behind.
func TestMain(m *testing.M) {
	flag.Parse()
	code := leakcheck.Run(m, func() {
		browser.CloseShared()
		http.DefaultClient.CloseIdleConnections()
	})
	if built {
		web.Cleanup()
	}
	os.Exit(code)
}

// built says that there is an app to remove in the end: several tests use it.
var built bool

// realHub is the hub as it is released, with the app.
func realHub(t *testing.T) *web.Hub {
	t.Helper()
	built = true
	return web.StartHub(t)
}

// chromium is a profile of the test's own in the browser that all tests share.
func chromium(t *testing.T) *browser.Chromium {
	t.Helper()
	return browser.SharedChromium(t, func() *image.Gray { return room(t) })
}

// hub serves an app as a hub does. What it serves can change, as when a hub is
// brought to another version.
type hub struct {
	*httptest.Server
	t    *testing.T
	core *core // the phone's; nil: it is in the page, or played there

	mu      sync.Mutex
	handler http.Handler
	app     *phone.App
}

// startHub serves the app, whose core is in this process.
func startHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t, core: newCore(t)}
	h.start()
	t.Cleanup(h.core.close) // before the server, which waits for what is open
	return h
}

// startPictures serves the app with states that are there to be looked at.
func startPictures(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t}
	h.start()
	return h
}

func (h *hub) start() {
	h.t.Helper()
	h.serve(nil)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		handler := h.handler
		h.mu.Unlock()
		if h.core != nil && strings.HasPrefix(r.URL.Path, "/core/") {
			handler = h.core // which is none of the hub's
		}
		handler.ServeHTTP(w, r)
	}))
	h.t.Cleanup(h.Close)
	// A name, since passkeys and service workers want a secure context.
	h.URL = strings.Replace(h.URL, "127.0.0.1", "localhost", 1)
}

// handle has the hub answer so from now on, and returns how it did before.
func (h *hub) handle(handler http.Handler) (before http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, h.handler = h.handler, handler
	return before
}

// gone is a hub that is no more.
func (h *hub) gone() {
	h.handle(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	h.core.offline()
}

// served is an app with its handler.
type served struct {
	app     *phone.App
	handler http.Handler
}

// unchanged is the app as it is, once for all tests, by whether its core is played.
var unchanged = map[bool]func() (served, error){
	false: sync.OnceValues(func() (served, error) { return serving(web.NativeApp(nil)) }),
	true:  sync.OnceValues(func() (served, error) { return serving(web.Pictures()) }),
}

func serving(files fs.FS, err error) (s served, _ error) {
	if err == nil {
		s.app, err = phone.New(files)
	}
	if err != nil {
		return s, err
	}
	handler, err := webapp.New(s.app.Files(), phone.ContentSecurityPolicy)
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	s.handler = mux
	return s, err
}

// serve serves the app with changes to its files by name.
func (h *hub) serve(changes map[string]string) {
	h.t.Helper()
	s, err := unchanged[h.core == nil]()
	if changes != nil {
		s, err = serving(web.NativeApp(changes))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.handle(s.handler)
	h.app = s.app
}

// tab is one page of the app. What it complains of on its console, and what its
// policy forbids, fails the test.
type tab struct {
	*browser.Tab
	t      *testing.T
	hub    *hub
	core   *core                  // the hub's
	device *browser.Authenticator // where the hub has the core
}

// view is how a page is looked at.
type view struct {
	width, height int64
	dark          bool
	fresh         bool      // of pictures: nothing is set up yet
	room          bool      // the camera sees it, and not what the test shows
	before        string    // JavaScript that runs before the page's own
	agent         string    // user agent
	path          string    // after the hub's URL
	now           time.Time // the page's clock and time zone; zero: this computer's
}

// clock is JavaScript that sets the page's clock, which goes on from there.
func clock(now time.Time) string {
	return fmt.Sprintf(`{
		const real = Date, ahead = %d - real.now();
		globalThis.Date = class extends real {
			constructor(...a) { a.length ? super(...a) : super(globalThis.Date.now()); }
			static now() { return real.now() + ahead; }
		};
	}`, now.UnixMilli())
}

// keepSaid notes what the page says and takes away by itself, after half a second in
// places: a busy machine may look later than that.
const keepSaid = `{
	globalThis.said = [];
	const last = new WeakMap();
	new MutationObserver(() => {
		for (const e of document.querySelectorAll('.outcome, .note')) {
			const text = e.textContent.replace(/\s+/g, ' ');
			if (last.get(e) !== text) {
				last.set(e, text);
				globalThis.said.push(text);
			}
		}
	}).observe(document, { subtree: true, childList: true, characterData: true });
};`

func open(t *testing.T, h *hub, v view) *tab {
	t.Helper()
	return openIn(t, chromium(t), h, v)
}

// openIn is open in a browser of the test's own.
func openIn(t *testing.T, c *browser.Chromium, h *hub, v view) *tab {
	t.Helper()
	p := &tab{Tab: c.Tab(), t: t, hub: h, core: h.core}
	t.Cleanup(func() { // before the page is closed
		p.Tolerate("pubKeyCredParams is missing") // no RS256: SSH has no passkeys of that kind
		p.Tolerate("Synchronous XMLHttpRequest")  // native.js's
		p.WantsNoComplaints()
	})
	p.look(v)
	if h.core != nil && !v.room {
		v.before = lens + v.before
	}
	if h.core != nil {
		p.device = p.Authenticator(browser.AuthenticatorOptions{})
	}
	script := keepSaid + fmt.Sprintf("globalThis.fresh = %v;", v.fresh) + v.before
	if !v.now.IsZero() {
		script = clock(v.now) + script
		browser.Send(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: v.now.Location().String()})
	}
	p.BeforeLoad(script)
	if v.agent != "" {
		browser.Send(p, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: v.agent})
	}
	p.Go(h.URL + "/" + v.path)
	if !strings.HasPrefix(v.path, "icons/") {
		p.Ready()
	}
	return p
}

// look sets size and colours.
func (p *tab) look(v view) {
	p.t.Helper()
	if v.width == 0 {
		v.width, v.height = 390, 844
	}
	scheme := map[bool]string{true: "dark", false: "light"}[v.dark]
	browser.Send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: 2, Mobile: true,
	})
	browser.Send(p, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
	browser.Send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
	}})
	// A page that is there takes the size a moment later, and is laid out anew.
	p.WaitFor(fmt.Sprintf("location.href === 'about:blank' || matchMedia('(width: %dpx) and (height: %dpx)').matches", v.width, v.height))
	p.Do("if (location.href !== 'about:blank') { await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))); }")
}

// says fails unless the page comes to say the text, or has said it and taken it away
// since it was last asked for.
func (p *tab) says(text string) {
	p.t.Helper()
	p.WaitFor("(() => { const i = said.findIndex((text) => text.includes(" + browser.Quoted(text) + ")); return i >= 0 && said.splice(i, 1); })()")
}

// program runs a program of the tests and returns what it printed.
func program(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w: run `make setup`", err)
	}
	return out.String(), err
}
