package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/debugger"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"vmux/internal/testkit"
)

// Chromium is one with a profile of its own: a process, whose profile outlives it, or
// a part of the one that tests share.
type Chromium struct {
	T       TB
	program string
	profile string // of a process of its own
	flags   []chromedp.ExecAllocatorOption
	ctx     context.Context
	end     func()
}

// StartChromium starts Chromium with a fresh profile until the test ends. Flags are
// added to its command line.
func StartChromium(t TB, flags ...chromedp.ExecAllocatorOption) *Chromium {
	t.Helper()
	c := &Chromium{T: t, program: "chromium", profile: t.TempDir(), flags: flags}
	c.start()
	t.Cleanup(func() { c.end() })
	return c
}

func (c *Chromium) start() {
	c.T.Helper()
	path, err := exec.LookPath(c.program)
	if err != nil {
		c.T.Fatalf("Chromium is missing: %v: run `make setup`", err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(c.profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.WSURLReadTimeout(patience),
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), append(options, c.flags...)...)
	ctx, endContext := chromedp.NewContext(allocator)
	c.ctx = ctx
	c.end = func() {
		_ = chromedp.Cancel(ctx) // asks it to end, so that it writes what it holds
		endContext()
		endAllocator()
		c.end = func() {}
	}
	if err := chromedp.Do(ctx); err != nil {
		c.end()
		c.T.Fatalf("start Chromium: %v", err)
	}
}

// Restart ends the browser and starts it again with the same profile.
func (c *Chromium) Restart() {
	c.T.Helper()
	c.end()
	c.start()
}

// shared is the Chromium of all tests that need no process of their own.
var shared struct {
	sync.Mutex
	*Chromium
}

// SharedChromium is a profile of the test's own in a Chromium that the package's tests
// share: neither storage nor service workers are another's. It keeps nothing on disk,
// and cannot be restarted. Its camera sees the first test's picture, if that has one.
// It is the headless shell, which draws no window of its own and has no notifications:
// a test takes a third of the time.
func SharedChromium(t TB, seen func() *image.Gray) *Chromium {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Chromium == nil {
		profile, err := os.MkdirTemp("", "vmux-chromium-")
		if err != nil {
			t.Fatalf("%v", err)
		}
		c := &Chromium{T: t, program: "chromium-headless-shell", profile: profile}
		if seen != nil {
			c.flags = append(c.flags, Camera(t, profile, seen()))
		}
		c.start()
		shared.Chromium = c
	}
	// Its tabs are in the same browser context, which ends with this one.
	ctx, cancel := chromedp.NewContext(shared.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a browser context: %v", err)
	}
	return &Chromium{T: t, ctx: ctx}
}

// CloseShared ends the Chromium that tests have shared, for TestMain.
func CloseShared() {
	if shared.Chromium != nil {
		shared.end()
		_ = os.RemoveAll(shared.profile)
	}
}

// Tab is a page in Chromium.
type Tab struct {
	Page
	ctx    context.Context
	paused chan struct{} // the page's program has come to a debugger statement

	mu      sync.Mutex
	written []string                                // on the console
	amiss   []string                                // what of it are errors and warnings
	workers map[string]serviceworker.RegistrationID // by scope, once their domain is enabled
}

// Tab opens an empty tab.
func (c *Chromium) Tab() *Tab {
	c.T.Helper()
	t := &Tab{paused: make(chan struct{}, 1), workers: map[string]serviceworker.RegistrationID{}}
	t.T, t.driver = c.T, t
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithListener(t.listen))
	t.ctx = ctx
	c.T.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		c.T.Fatalf("open a tab: %v", err)
	}
	Send(t, runtime.Enable, cdp.Empty{})
	Send(t, cdplog.Enable, cdp.Empty{})
	return t
}

func (t *Tab) listen(event any) {
	switch e := event.(type) {
	case *serviceworker.EventWorkerRegistrationUpdated:
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, r := range e.Registrations {
			if !r.IsDeleted {
				t.workers[r.ScopeURL] = r.RegistrationID
			}
		}
	case *debugger.EventPaused:
		t.paused <- struct{}{}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		t.note(true, "exception: "+text)
	case *runtime.EventConsoleAPICalled:
		text := "console:"
		for _, a := range e.Args {
			text += " " + string(a.Value) + a.Description
		}
		t.note(e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning, text)
	case *cdplog.EventEntryAdded: // also what the Content-Security-Policy forbids
		bad := e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning
		t.note(bad, "log: "+e.Entry.Text+" "+e.Entry.URL)
	}
}

func (t *Tab) note(bad bool, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = append(t.written, text)
	if bad {
		t.amiss = append(t.amiss, text)
	}
}

// Console returns what the page has written to its console.
func (t *Tab) Console() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.written, "\n")
}

// WantsNoComplaints fails if the page has complained on its console, or done what its
// policy forbids, but for what is tolerated.
func (t *Tab) WantsNoComplaints() {
	t.T.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range t.amiss {
		t.T.Errorf("the page complains: %s", text)
	}
}

// Tolerate forgets complaints of the browser that the test has provoked.
func (t *Tab) Tolerate(part string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.amiss = slices.DeleteFunc(t.amiss, func(s string) bool { return strings.Contains(s, part) })
}

func (t *Tab) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, patience)
}

func (t *Tab) navigate(url string) error {
	ctx, cancel := t.limited()
	defer cancel()
	return chromedp.Do(ctx, chromedp.Navigate(url))
}

func (t *Tab) evaluate(expression string, into any) error {
	return t.evaluateWith(expression, into)
}

// EvaluateAsTap is as Eval, as if a person had tapped: such a page may open the
// browser's own dialogs.
func (t *Tab) EvaluateAsTap(expression string, into any) error {
	return t.evaluateWith(expression, into, func(p *runtime.EvaluateParams) { p.UserGesture = new(true) })
}

func (t *Tab) evaluateWith(expression string, into any, options ...chromedp.EvaluateOption) error {
	ctx, cancel := t.limited()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[json.RawMessage](expression, append(options, chromedp.EvalAwaitPromise)...))
	if err != nil {
		return err
	}
	if value == nil {
		return errors.New("it has no value")
	}
	return json.Unmarshal(value, into)
}

func (t *Tab) click(element string) error {
	var at []float64
	err := t.evaluate("(() => { const e = "+element+`; e?.scrollIntoView({block: 'center'});
		const r = e?.getBoundingClientRect(), x = r?.x + r?.width / 2, y = r?.y + r?.height / 2;
		const top = r && document.elementFromPoint(x, y);
		return e?.contains(top) || e?.closest('label')?.contains(top) ? [x, y] : []; })()`, &at)
	if err == nil && len(at) != 2 {
		err = errGone
	}
	if err != nil {
		return err
	}
	ctx, cancel := t.limited()
	defer cancel()
	return chromedp.Do(ctx, chromedp.MouseClickXY(at[0], at[1]))
}

func (t *Tab) enter(_, text string) error { // the field has the focus
	ctx, cancel := t.limited()
	defer cancel()
	return chromedp.Do(ctx, chromedp.KeyEvent(text))
}

func (t *Tab) picture() ([]byte, error) {
	ctx, cancel := t.limited()
	defer cancel()
	taken, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
	if err != nil {
		return nil, err
	}
	return taken.Data, nil
}

// Act runs actions of chromedp.
func (t *Tab) Act(actions ...chromedp.Action[chromedp.Void]) {
	t.T.Helper()
	ctx, cancel := t.limited()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.T.Fatalf("in the page: %v\n%s", err, t.Console())
	}
}

// Tabber is a Tab, or a type around one.
type Tabber interface{ tab() *Tab }

func (t *Tab) tab() *Tab { return t }

// Send runs a command of Chromium's protocol.
func Send[P, R any](of Tabber, command cdp.Command[P, R], params P) R {
	t := of.tab()
	t.T.Helper()
	ctx, cancel := t.limited()
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		t.T.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// WaitPaused waits until the page's program has come to a debugger statement, once the
// debugger's domain is enabled.
func (t *Tab) WaitPaused() {
	t.T.Helper()
	select {
	case <-t.paused:
	case <-time.After(patience):
		t.T.Fatalf("the page's program is not stopped")
	}
}

// Reload loads the page again.
func (t *Tab) Reload() {
	t.T.Helper()
	t.Act(chromedp.Reload())
}

// Throttle makes the page's CPU as many times slower.
func (t *Tab) Throttle(slowness float64) {
	t.T.Helper()
	Send(t, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: slowness})
}

// BeforeLoad runs a script in each page that is loaded from now on, before the
// page's own.
func (t *Tab) BeforeLoad(script string) {
	t.T.Helper()
	Send(t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// Allow gives pages of an origin a permission, as a person does.
func (t *Tab) Allow(origin, permission string) {
	t.T.Helper()
	ctx, cancel := t.limited()
	defer cancel()
	if _, err := chromedp.CallBrowser(ctx, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{
		Permission: &cdpbrowser.PermissionDescriptor{Name: permission}, Setting: cdpbrowser.PermissionSettingGranted,
		Origin: origin, BrowserContextID: chromedp.FromContext(t.ctx).BrowserContextID,
	}); err != nil {
		t.T.Fatalf("allow %s: %v", permission, err)
	}
}

// Push delivers a push message to an origin's service worker, as the browser's push
// service does.
func (t *Tab) Push(origin, data string) {
	t.T.Helper()
	Send(t, serviceworker.Enable, cdp.Empty{})
	var id serviceworker.RegistrationID
	testkit.WaitFor(t.T, fmt.Sprintf("a service worker of %s", origin), func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		for scope, registration := range t.workers {
			if strings.HasPrefix(scope, origin) {
				id = registration
			}
		}
		return id != ""
	})
	Send(t, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{Origin: origin, RegistrationID: id, Data: data})
}
