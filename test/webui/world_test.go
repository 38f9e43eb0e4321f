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
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/debugger"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"vmux/internal/hub/webapp"
	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
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
	code := leakcheck.Run(m, closeBrowser)
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

// One browser serves all tests; each gets a context of its own, which shares
// neither storage nor service workers with another's.
var chromium struct {
	sync.Mutex
	ctx   context.Context
	close []func()
}

func closeBrowser() {
	for i := len(chromium.close) - 1; i >= 0; i-- {
		chromium.close[i]()
	}
	http.DefaultClient.CloseIdleConnections()
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	chromium.Lock()
	defer chromium.Unlock()
	if chromium.ctx != nil {
		return chromium.ctx
	}
	profile, err := os.MkdirTemp("", "vmux-webui-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := launch(t, profile,
		chromedp.Flag("use-file-for-fake-video-capture", film(t, filepath.Join(profile, "camera.y4m"))))
	chromium.close = append(chromium.close, func() { _ = os.RemoveAll(profile) }, end)
	chromium.ctx = ctx
	return ctx
}

// launch starts a Chromium with that profile, and flags of its own.
func launch(t *testing.T, profile string, flags ...chromedp.ExecAllocatorOption) (ctx context.Context, end func()) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is missing: run `make setup`")
	}
	options := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
	}, flags...)
	allocator, closeAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeContext := chromedp.NewContext(allocator)
	end = func() {
		closeContext()
		closeAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		end()
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx, end
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
	t      *testing.T
	ctx    context.Context
	hub    *hub
	mu     sync.Mutex
	said   []string
	worker serviceworker.RegistrationID // once its domain is enabled

	stopped chan struct{} // the page's program has come to its debugger statement
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
	return openIn(t, startBrowser(t), h, v)
}

// openIn is open in a browser of the test's own.
func openIn(t *testing.T, chromium context.Context, h *hub, v view) *tab {
	t.Helper()
	p := &tab{t: t, hub: h, stopped: make(chan struct{}, 1)}
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	ctx, cancelTime := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancelTime)
	p.ctx = ctx
	t.Cleanup(p.checkSaid) // runs before the page is closed
	send(p, cdplog.Enable, cdp.Empty{})
	p.look(v)
	options, err := json.Marshal(v.options)
	if err != nil {
		t.Fatal(err)
	}
	script := keepSaid + "globalThis.fakeOptions = " + string(options) + ";" + v.before
	if !v.now.IsZero() {
		script = clock(v.now) + script
		send(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: v.now.Location().String()})
	}
	send(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	if v.agent != "" {
		send(p, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: v.agent})
	}
	p.run(chromedp.Navigate(h.URL + "/" + v.path))
	p.waitFor("document.documentElement.dataset.ready === 'true' || document.querySelector('[role=alert]') !== null || location.pathname.startsWith('/icons/')")
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
	send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: 2, Mobile: true,
	})
	send(p, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
	send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
}

func (p *tab) listen(event any) {
	switch e := event.(type) {
	case *cdpruntime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.say("exception: " + text)
	case *cdpruntime.EventConsoleAPICalled:
		if e.Type == cdpruntime.ConsoleAPICalledTypeError || e.Type == cdpruntime.ConsoleAPICalledTypeWarning {
			var text []string
			for _, a := range e.Args {
				text = append(text, string(a.Value)+a.Description)
			}
			p.say("console: " + strings.Join(text, " "))
		}
	case *serviceworker.EventWorkerRegistrationUpdated:
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range e.Registrations {
			if !r.IsDeleted && strings.HasPrefix(r.ScopeURL, p.hub.URL) {
				p.worker = r.RegistrationID
			}
		}
	case *debugger.EventPaused:
		p.stopped <- struct{}{}
	case *cdplog.EventEntryAdded: // also what the Content-Security-Policy forbids
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			p.say("log: " + e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func (p *tab) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, text)
}

func (p *tab) checkSaid() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.said {
		p.t.Errorf("the page complains: %s", text)
	}
}

func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// send runs a command of the browser's protocol.
func send[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	result, err := chromedp.Call(p.ctx, command, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

// eval runs JavaScript in the page, waits for it, and reads the result.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	result, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return result
}

// do runs JavaScript whose result does not matter.
func (p *tab) do(expression string) {
	p.t.Helper()
	eval[bool](p, "(async () => { "+expression+"; return true; })()")
}

// waitFor waits until the JavaScript expression is true. While a page is being
// replaced there is nothing to ask.
func (p *tab) waitFor(expression string) {
	p.t.Helper()
	var err error
	instead := func() string { return fmt.Sprintf("%s (%v)\nthe page shows:\n%s", expression, err, p.text()) }
	waitFor(p.t, testkit.Told(instead), func() (ok bool) {
		ok, err = chromedp.Run(p.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return ok && err == nil
	})
}

// text is what the page shows.
func (p *tab) text() string {
	return eval[string](p, "(document.querySelector('dialog[open]:last-of-type')?.innerText ?? '') + '\\n--\\n' + document.body.innerText")
}

// says fails unless the page comes to say the text, or has said it and taken it away
// since it was last asked for.
func (p *tab) says(text string) {
	p.t.Helper()
	p.waitFor("(() => { const i = said.findIndex((text) => text.includes(" + quoted(text) + ")); return i >= 0 && said.splice(i, 1); })()")
}

// wants fails unless the page comes to show each text, and keeps it.
func (p *tab) wants(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.waitFor("document.body.innerText.replace(/\\s+/g, ' ').includes(" + quoted(text) + ")")
	}
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// button is the topmost visible button or link with that name.
func button(name string) string {
	return "Array.from((Array.from(document.querySelectorAll('dialog[open]')).at(-1) ?? document)" +
		".querySelectorAll('button, a, summary, label')).filter((e) => e.checkVisibility() && " +
		"((e.getAttribute('aria-label') ?? e.innerText).trim().replace(/\\s+/g, ' ') === " + quoted(name) + "))[0]"
}

// tap touches a button as a finger does, once it can be pressed.
func (p *tab) tap(name string) {
	p.t.Helper()
	p.waitFor("(" + button(name) + ")?.disabled === false || ['A', 'LABEL', 'SUMMARY'].includes((" + button(name) + ")?.tagName)")
	p.waitFor("document.getAnimations().every((a) => a.animationName !== 'rise' || a.playState === 'finished')")
	type point struct{ X, Y float64 }
	at := eval[point](p, "(() => { const e = "+button(name)+"; e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"+
		" return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()")
	p.run(chromedp.MouseClickXY(at.X, at.Y))
}

// screen goes to a screen, if it is not there.
func (p *tab) screen(name string) {
	p.t.Helper()
	if eval[bool](p, "location.hash === "+quoted("#"+name)) {
		return
	}
	p.do("location.hash = " + quoted("#"+name))
	p.waitFor("document.activeElement?.id === 'title'")
}

// calls are the arguments of the calls of a core function.
func calls(p *tab, name string) []map[string]any {
	p.t.Helper()
	return eval[[]map[string]any](p, "fake.calls.filter((c) => c.name === "+quoted(name)+").map((c) => ({...c.args, active: c.active ?? null}))")
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

// tolerate forgets complaints of the browser that the test has provoked.
func (p *tab) tolerate(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = slices.DeleteFunc(p.said, func(s string) bool { return strings.Contains(s, part) })
}
