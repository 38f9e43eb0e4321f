// Package browser drives pages of the phone app as a person does: in Debian's Chromium,
// in WebKitGTK, which is Safari's engine, and in Firefox. What is read and pressed is
// the same in all (Page); what Chromium alone can do is in Tab. It is for tests, and no
// part of the product.
package browser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"time"

	"vmux/internal/testkit"
)

// patience bounds what a browser does at once: a test machine may be busy, a hang must
// not last.
const patience = 2 * time.Minute

// TB is what this package needs of a test: *testing.T, *testing.B, or a
// benchmark program's own.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

// driver is what each engine does in its own way. Elements are what JavaScript
// expressions find.
type driver interface {
	// navigate loads a URL.
	navigate(url string) error
	// evaluate waits for an expression, also if it is a promise, and decodes its value
	// into into.
	evaluate(expression string, into any) error
	// click presses the element, as a person does. If there is none, or something else
	// is in its place, it returns errGone.
	click(element string) error
	// enter types into the element.
	enter(element, text string) error
	// picture is what is shown, as a PNG.
	picture() ([]byte, error)
}

// errGone says that the page has changed since an element was found: it does so at any
// time, by news from the phone's core.
var errGone = errors.New("the element is gone")

// Page is a page of the app.
type Page struct {
	T TB
	driver
}

// Pager is a Page, or a type around one.
type Pager interface{ page() *Page }

func (p *Page) page() *Page { return p }

// Eval waits for a JavaScript expression and reads its value.
func Eval[T any](p Pager, expression string) (value T) {
	p.page().T.Helper()
	if err := p.page().evaluate(expression, &value); err != nil {
		p.page().T.Fatalf("%s: %v", expression, err)
	}
	return value
}

// Quoted is a text as JavaScript and JSON write it.
func Quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Do runs JavaScript statements to their end.
func (p *Page) Do(statements string) {
	p.T.Helper()
	Eval[bool](p, "(async () => { "+statements+"; return true; })()")
}

// Check fails unless a JavaScript expression is true, once it has a value.
func (p *Page) Check(expression string) {
	p.T.Helper()
	if !Eval[bool](p, expression) {
		p.T.Fatalf("%s: is false\nthe page shows:\n%s", expression, p.Text())
	}
}

// Go loads a URL.
func (p *Page) Go(url string) {
	p.T.Helper()
	if err := p.navigate(url); err != nil {
		p.T.Fatalf("%s: %v", url, err)
	}
}

// Ready waits until the app has started, or says why it has not.
func (p *Page) Ready() {
	p.T.Helper()
	p.WaitFor("document.documentElement.dataset.ready === 'true' || document.querySelector('[role=alert]') !== null")
}

// WaitFor waits until a JavaScript expression is true. While a page is being replaced
// there is nothing to ask.
func (p *Page) WaitFor(expression string) {
	p.T.Helper()
	var err error
	instead := func() string {
		return fmt.Sprintf("%s (%v)\nthe page shows:\n%s\n%s", expression, err, p.Text(), p.loading())
	}
	testkit.WaitFor(p.T, testkit.Told(instead), func() (is bool) {
		err = p.evaluate("Boolean("+expression+")", &is)
		return is && err == nil
	})
}

// Text is what the page shows, the topmost sheet first.
func (p *Page) Text() (text string) {
	if err := p.evaluate("(document.querySelector('dialog[open]:last-of-type')?.innerText ?? '') + '\\n--\\n' + document.body.innerText", &text); err != nil {
		return err.Error()
	}
	return text
}

// loading says how the page's load went, and what it wrote to its console.
func (p *Page) loading() (text string) {
	const state = `JSON.stringify({
		at: location.pathname, document: document.readyState, worker: navigator.serviceWorker?.controller?.state ?? null,
		files: performance.getEntriesByType('resource').map((f) => [f.name.split('/').pop(), f.responseStatus, Math.round(f.duration), f.workerStart > 0].join(' ')),
	})`
	if err := p.evaluate(state, &text); err != nil {
		text = err.Error()
	}
	if c, ok := p.driver.(interface{ Console() string }); ok {
		text += "\n" + c.Console()
	}
	return text
}

// shows is whether the page shows a text, in whatever lines.
func shows(text string) string {
	return `document.body.innerText.replace(/\s+/g, ' ').includes(` + Quoted(text) + ")"
}

// Wants fails unless the page comes to show each text.
func (p *Page) Wants(texts ...string) {
	p.T.Helper()
	for _, text := range texts {
		p.WaitFor(shows(text))
	}
}

// Hides waits until the page no longer shows a text.
func (p *Page) Hides(text string) {
	p.T.Helper()
	p.WaitFor("!" + shows(text))
}

// Lacks fails if the page shows one of the texts.
func (p *Page) Lacks(texts ...string) {
	p.T.Helper()
	shown := p.Text()
	for _, text := range texts {
		if strings.Contains(shown, text) {
			p.T.Errorf("it says %q:\n%s", text, shown)
		}
	}
}

// Topmost finds things in the sheet that is on top, or else on the screen.
const Topmost = "(Array.from(document.querySelectorAll('dialog[open]')).at(-1) ?? document)"

// Settled is whether a sheet that rises is up.
const Settled = "document.getAnimations().every((a) => a.animationName !== 'rise' || a.playState === 'finished')"

// Button is the topmost button, link or choice of that name that is visible.
func Button(name string) string {
	return "Array.from(" + Topmost + ".querySelectorAll('button, a, summary, label'))" +
		".find((e) => e.checkVisibility() && (e.getAttribute('aria-label') ?? e.innerText).trim().replace(/\\s+/g, ' ') === " + Quoted(name) + ")"
}

// Tap presses what has that name, once it can be pressed.
func (p *Page) Tap(name string) {
	p.T.Helper()
	p.onElement("tap "+name, Button(name), p.click)
}

// Click presses what a CSS selector finds in the sheet that is on top, or else on the
// screen.
func (p *Page) Click(selector string) {
	p.T.Helper()
	p.onElement("press "+selector, Topmost+".querySelector("+Quoted(selector)+")", p.click)
}

// Fill types into the field of that label, in place of what is there.
func (p *Page) Fill(label, text string) {
	p.T.Helper()
	field := "Array.from(" + Topmost + ".querySelectorAll('label')).find((l) => l.innerText.trim() === " + Quoted(label) + ")?.control"
	p.onElement("fill in "+label, field, func(field string) error {
		var there bool
		err := p.evaluate("(() => { const f = "+field+"; if (f) { f.value = ''; f.focus(); } return Boolean(f); })()", &there)
		if err == nil && !there {
			err = errGone
		}
		if err != nil {
			return err
		}
		return p.enter(field, text)
	})
}

// onElement does something to what an expression finds, once it is there, enabled and at
// rest. Where the page is drawn anew between finding and doing, it is found once more.
func (p *Page) onElement(what, element string, act func(element string) error) {
	p.T.Helper()
	var err error
	instead := func() string { return fmt.Sprintf("%s (%v)\nthe page shows:\n%s", what, err, p.Text()) }
	testkit.WaitFor(p.T, testkit.Told(instead), func() (is bool) {
		if err = p.evaluate("(() => { const e = "+element+"; return Boolean(e) && !e.disabled && "+Settled+"; })()", &is); err != nil || !is {
			return false
		}
		err = act(element)
		return !errors.Is(err, errGone)
	})
	if err != nil {
		p.T.Fatalf("%s: %v\nthe page shows:\n%s", what, err, p.Text())
	}
}

// Screen goes to a screen of the app, if it is not there.
func (p *Page) Screen(name string) {
	p.T.Helper()
	there := "location.hash === " + Quoted("#"+name)
	if Eval[bool](p, there) {
		return
	}
	p.Do("location.hash = " + Quoted("#"+name))
	p.WaitFor(there + " && document.activeElement?.id === 'title'")
}

// Picture is what the page looks like.
func (p *Page) Picture() image.Image {
	p.T.Helper()
	data, err := p.picture()
	if err != nil {
		p.T.Fatalf("%v", err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		p.T.Fatalf("%v", err)
	}
	return img
}
