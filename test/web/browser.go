// Package web drives the phone app in Debian's Chromium: browsers with a profile
// of their own, virtual authenticators, the real hub before the app as it is
// built, and the agent's own program. It is for tests, and no part of the
// product.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"vmux/internal/testkit"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = 60 * time.Second

// TB is what this package needs of a test: *testing.T, *testing.B, or a
// benchmark program's own.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

// Browser is one Chromium with a profile that outlives it.
type Browser struct {
	t       TB
	profile string
	flags   []chromedp.ExecAllocatorOption
	ctx     context.Context
	end     func()
}

// StartBrowser starts Chromium with a fresh profile until the test ends. Flags
// are added to its command line.
func StartBrowser(t TB, flags ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	b := &Browser{t: t, profile: t.TempDir(), flags: flags}
	b.start()
	t.Cleanup(func() { b.end() })
	return b
}

func (b *Browser) start() {
	b.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		b.t.Fatalf("Chromium is missing: run `make setup`")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(b.profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.WSURLReadTimeout(patience),
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), append(options, b.flags...)...)
	ctx, endContext := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatalf("start Chromium: %v", err)
	}
	b.ctx = ctx
	b.end = func() {
		_ = chromedp.Cancel(ctx) // asks it to end, so that it writes what it holds
		endContext()
		endAllocator()
		b.end = func() {}
	}
}

// Restart ends the browser and starts it again with the same profile.
func (b *Browser) Restart() {
	b.t.Helper()
	b.end()
	b.start()
}

// Page is one tab.
type Page struct {
	t   TB
	ctx context.Context
	// Errors are what the page wrote to its console as errors, and its uncaught
	// exceptions.
	errors chan string
	worker atomic.Value // serviceworker.RegistrationID, once the page has one and ServiceWorker is enabled
}

// Open opens a URL in a new tab.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	p := b.Tab()
	p.Go(url)
	return p
}

// Tab opens an empty tab.
func (b *Browser) Tab() *Page {
	b.t.Helper()
	p := &Page{t: b.t, errors: make(chan string, 1024)}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(p.listen))
	p.ctx = ctx
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		b.t.Fatalf("open a tab: %v", err)
	}
	send(p, runtime.Enable, cdp.Empty{})
	send(p, cdplog.Enable, cdp.Empty{})
	send(p, webauthn.Enable, webauthn.EnableParams{})
	return p
}

func (p *Page) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *serviceworker.EventWorkerRegistrationUpdated:
		for _, r := range e.Registrations {
			p.worker.Store(r.RegistrationID)
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		for _, a := range e.Args {
			text += string(a.Value) + a.Description + " "
		}
	case *cdplog.EventEntryAdded:
		text = string(e.Entry.Level) + ": " + e.Entry.Text + " " + e.Entry.URL
	}
	select {
	case p.errors <- text:
	default:
	}
}

// Console returns what the page has written to its console since the last call.
func (p *Page) Console() string {
	var b strings.Builder
	for {
		select {
		case text := <-p.errors:
			if text != "" {
				fmt.Fprintln(&b, text)
			}
		default:
			return b.String()
		}
	}
}

// Go loads a URL.
func (p *Page) Go(url string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
}

// Throttle makes the page's CPU as many times slower.
func (p *Page) Throttle(slowness float64) {
	p.t.Helper()
	send(p, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: slowness})
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	p.do(chromedp.Reload())
}

// send runs a command of the browser's protocol.
func send[P, R any](p *Page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

func (p *Page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("in the page: %v\n%s", err, p.Console())
	}
}

// Click clicks the first element that a CSS selector finds, once it is visible,
// with the mouse as a person does.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(selector))
}

// WaitVisible waits for an element.
func (p *Page) WaitVisible(selector string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(selector))
}

// WaitGone waits until there is no such element any more.
func (p *Page) WaitGone(selector string) {
	p.t.Helper()
	p.waitTrue("there is no "+selector, fmt.Sprintf(`document.querySelector(%q) === null`, selector))
}

// Shows waits until the page shows a text, in whatever lines.
func (p *Page) Shows(text string) {
	p.t.Helper()
	p.waitTrue("the page shows "+text, fmt.Sprintf(`document.body.innerText.replace(/\s+/g, ' ').includes(%q)`, text))
}

// Hides waits until the page no longer shows a text.
func (p *Page) Hides(text string) {
	p.t.Helper()
	p.waitTrue("the page hides "+text, fmt.Sprintf(`!document.body.innerText.replace(/\s+/g, ' ').includes(%q)`, text))
}

// evaluate runs a script that resolves to true, without the app's part.
func (p *Page) evaluate(script string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 4*patience) // some write a whole disk full
	defer cancel()
	if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)); err != nil || !yes {
		p.t.Fatalf("in the page: %v\n%s", err, p.Console())
	}
}

// waitTrue waits until a JavaScript expression is true.
func (p *Page) waitTrue(what, expression string) {
	p.t.Helper()
	waitFor(p.t, what, func() bool {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		return err == nil && yes
	})
}

// Failure is what a function of core.js rejects with.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Run evaluates an async function's body, in which core is the app's module, as
// if in a tap, and reads its result into into, if that is not nil. A rejection
// is returned as *Failure.
func (p *Page) Run(body string, into any) error {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	script := `(async () => { const core = await import('/core.js'); await core.start();
		try { return JSON.stringify({ value: await (async () => { ` + body + ` })() }); }
		catch (e) { return JSON.stringify({ error: e.code ? e : { code: 'thrown', message: String(e.stack ?? e) } }); } })()
		.catch((e) => JSON.stringify({ error: e.code ? e : { code: 'thrown', message: String(e.stack ?? e) } }))`
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise, asTap))
	if err != nil {
		return fmt.Errorf("in the page: %w\n%s", err, p.Console())
	}
	var answer struct {
		Value json.RawMessage `json:"value"`
		Error *Failure        `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	if into == nil || answer.Value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, into)
}

func asTap(p *runtime.EvaluateParams) {
	yes := true
	p.UserGesture = &yes
}

// Call calls a function of core.js, as if in a tap.
func (p *Page) Call(name string, args, into any) error {
	p.t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	return p.Run(fmt.Sprintf("return core.call(%q, %s)", name, b), into)
}

// MustCall is Call that must succeed.
func (p *Page) MustCall(name string, args, into any) {
	p.t.Helper()
	if err := p.Call(name, args, into); err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, p.Console())
	}
}

// WantFailure calls a function that must fail with a code.
func (p *Page) WantFailure(code, name string, args any) {
	p.t.Helper()
	err := p.Call(name, args, nil)
	var f *Failure
	if !errors.As(err, &f) || f.Code != code {
		p.t.Errorf("%s: %v, want code %s", name, err, code)
	}
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

// BeforeLoad runs a script in each page that is loaded from now on, before the
// page's own.
func (p *Page) BeforeLoad(script string) {
	p.t.Helper()
	send(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// Tap presses the mouse on the button of a text, once there is one that can be
// pressed and has come to rest: the browser takes it for a person's.
func (p *Page) Tap(text string) {
	p.t.Helper()
	find := fmt.Sprintf(`(() => {
		if (document.getAnimations().some((a) => a.animationName === 'rise' && a.playState !== 'finished')) return [];
		for (const b of document.querySelectorAll('button')) {
			const r = b.getBoundingClientRect();
			const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
			if (b.textContent.trim() === %q && !b.disabled && r.width > 0 && b.contains(top)) return [r.x + r.width / 2, r.y + r.height / 2];
		}
		return [];
	})()`, text)
	var at []float64
	waitFor(p.t, "there is a button "+text, func() bool {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		at, _ = chromedp.Run(ctx, chromedp.Evaluate[[]float64](find))
		return len(at) == 2
	})
	p.do(chromedp.MouseClickXY(at[0], at[1]))
}
