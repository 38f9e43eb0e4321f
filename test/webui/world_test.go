// Package webui holds the tests of the phone app's pages: Debian's Chromium
// shows them, served as a hub serves them, with a core that plays the part of
// the signer. What core and signer do themselves is tested elsewhere.
package webui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
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
	t *testing.T

	mu      sync.Mutex
	handler http.Handler
	app     *phone.App
}

func startHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t}
	h.serve(nil)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		handler := h.handler
		h.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	// A name, since passkeys and service workers want a secure context.
	h.URL = strings.Replace(h.URL, "127.0.0.1", "localhost", 1)
	return h
}

func (h *hub) serve(changes map[string]string) {
	h.t.Helper()
	app, err := phone.New(web.PlayingApp(h.t, changes))
	if err != nil {
		h.t.Fatal(err)
	}
	handler, err := webapp.New(webapp.Config{Files: app.Files(), Policy: phone.ContentSecurityPolicy})
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	h.app, h.handler = app, mux
}

// tab is one page of the app. What it complains of on its console, and what its
// policy forbids, fails the test.
type tab struct {
	*browser.Tab
	t   *testing.T
	hub *hub
}

// view is how a page is looked at.
type view struct {
	width, height int64
	dark          bool
	reduced       bool
	options       map[string]any // for fakecore.js
	before        string         // JavaScript that runs before the page's own
	agent         string         // user agent
	path          string         // after the hub's URL
	now           time.Time      // the page's clock and time zone; zero: this computer's
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
	p := &tab{Tab: c.Tab(), t: t, hub: h}
	t.Cleanup(p.WantsNoComplaints) // runs before the page is closed
	p.look(v)
	options, err := json.Marshal(v.options)
	if err != nil {
		t.Fatal(err)
	}
	script := keepSaid + "globalThis.fakeOptions = " + string(options) + ";" + v.before
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
	scheme, motion := "light", "no-preference"
	if v.dark {
		scheme = "dark"
	}
	if v.reduced {
		motion = "reduce"
	}
	browser.Send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: 2, Mobile: true,
	})
	browser.Send(p, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
	browser.Send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
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

// calls are the arguments of the calls of a core function.
func calls(p *tab, name string) []map[string]any {
	p.t.Helper()
	return browser.Eval[[]map[string]any](p, "fake.calls.filter((c) => c.name === "+browser.Quoted(name)+").map((c) => ({...c.args, active: c.active ?? null}))")
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
