// Package web has the phone app as it is built, and its world: pages whose core is the
// real one, the real hub before it, and the agent's own program. It is for tests, and no
// part of the product.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chromedp/chromedp"

	"vmux/internal/testkit"
	"vmux/test/browser"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = 60 * time.Second

// TB is what this package needs of a test.
type TB = browser.TB

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

// Browser is a Chromium with pages of the app.
type Browser struct{ *browser.Chromium }

// NewBrowser is a profile of the test's own in the Chromium that the package's tests
// share.
func NewBrowser(t TB) *Browser {
	t.Helper()
	return &Browser{browser.SharedChromium(t, nil)}
}

// StartBrowser starts a Chromium of the test's own, with a profile that outlives it.
func StartBrowser(t TB, flags ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	return &Browser{browser.StartChromium(t, flags...)}
}

// Page is one tab.
type Page struct{ *browser.Tab }

// Tab opens an empty tab.
func (b *Browser) Tab() *Page {
	b.T.Helper()
	return &Page{b.Chromium.Tab()}
}

// Open opens a URL in a new tab.
func (b *Browser) Open(url string) *Page {
	b.T.Helper()
	p := b.Tab()
	p.Go(url)
	return p
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
	p.T.Helper()
	script := `(async () => { const core = await import('/core.js'); await core.start();
		try { return { value: await (async () => { ` + body + ` })() }; }
		catch (e) { return { error: e.code ? e : { code: 'thrown', message: String(e.stack ?? e) } }; } })()
		.catch((e) => ({ error: e.code ? e : { code: 'thrown', message: String(e.stack ?? e) } })).then((answer) => JSON.stringify(answer))`
	var text string
	if err := p.EvaluateAsTap(script, &text); err != nil {
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

// Call calls a function of core.js, as if in a tap.
func (p *Page) Call(name string, args, into any) error {
	p.T.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	return p.Run(fmt.Sprintf("return core.call(%q, %s)", name, b), into)
}

// MustCall is Call that must succeed.
func (p *Page) MustCall(name string, args, into any) {
	p.T.Helper()
	if err := p.Call(name, args, into); err != nil {
		p.T.Fatalf("%s: %v\n%s", name, err, p.Console())
	}
}

// WantFailure calls a function that must fail with a code.
func (p *Page) WantFailure(code, name string, args any) {
	p.T.Helper()
	err := p.Call(name, args, nil)
	var f *Failure
	if !errors.As(err, &f) || f.Code != code {
		p.T.Errorf("%s: %v, want code %s", name, err, code)
	}
}
