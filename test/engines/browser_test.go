// Package engines holds the tests of the phone app in browsers other than
// Chromium: Debian's WebKitGTK, which is Safari's engine, and Firefox. A person's
// way is gone by what is on the screen, with the real hub, agent and sshd; what
// core and pages do in all their cases is tested in Chromium, see web and webui.
package engines

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
	"vmux/test/web"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = 2 * time.Minute

// pictures is where the tests put what the engines have drawn, for people to
// look at. Nothing is compared: each engine has its own fonts and fields.
var (
	pictures = flag.String("pictures", "", "folder for pictures of the screens")
	dark     = flag.Bool("dark", false, "in dark colours")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := leakcheck.Run(m)
	web.Cleanup()
	os.Exit(code)
}

// browser is one page of the app.
type browser struct {
	t *testing.T
	driver
}

// do sends a command that must succeed.
func (b *browser) do(c command, parameters map[string]any) json.RawMessage {
	b.t.Helper()
	value, err := b.send(c, parameters)
	if err != nil {
		b.t.Fatalf("%s: %v", c.name, err)
	}
	return value
}

// popUp goes on in a window of that size. Windows with toolbars cannot be as
// small as a phone.
func (b *browser) popUp(width, height int) {
	b.t.Helper()
	handles := func() (list []string) {
		if err := json.Unmarshal(b.do(windowHandles, nil), &list); err != nil {
			b.t.Fatal(err)
		}
		return list
	}
	before := handles()
	b.run(fmt.Sprintf("open('about:blank', '_blank', 'popup,width=%d,height=%d')", width, height))
	waitFor(b.t, "the window is there", func() bool { return len(handles()) > len(before) })
	for _, handle := range handles() {
		if !slices.Contains(before, handle) {
			b.do(switchToWindow, map[string]any{"handle": handle})
		}
	}
	waitFor(b.t, fmt.Sprintf("the window is %d×%d", width, height), func() bool {
		size, _ := eval[[2]int](b, "[innerWidth, innerHeight]")
		return size == [2]int{width, height}
	})
}

// open loads a page of the app and waits until it is ready or says why not.
func (b *browser) open(url string) {
	b.t.Helper()
	b.run("document.documentElement.dataset.left = 'true'") // Firefox may answer before it is gone
	b.do(navigate, map[string]any{"url": url})
	b.waitFor("!document.documentElement.dataset.left && " +
		"(document.documentElement.dataset.ready === 'true' || document.querySelector('[role=alert]') !== null)")
}

// eval reads what a JavaScript expression is.
func eval[T any](b *browser, expression string) (value T, err error) {
	answer, err := b.send(execute, map[string]any{"script": "return " + expression, "args": []any{}})
	if err == nil {
		err = json.Unmarshal(answer, &value)
	}
	return value, err
}

// run runs JavaScript in the page.
func (b *browser) run(script string) {
	b.t.Helper()
	b.do(execute, map[string]any{"script": script, "args": []any{}})
}

// waitFor waits until the JavaScript expression is true. While a page is being
// replaced there is nothing to ask.
func (b *browser) waitFor(expression string) {
	b.t.Helper()
	var err error
	instead := func() string { return fmt.Sprintf("%s (%v)\nthe page shows:\n%s", expression, err, b.text()) }
	waitFor(b.t, testkit.Told(instead), func() (is bool) {
		is, err = eval[bool](b, "Boolean("+expression+")")
		return is && err == nil
	})
}

// text is what the page shows.
func (b *browser) text() string {
	text, err := eval[string](b, "document.body.innerText")
	if err != nil {
		return err.Error()
	}
	return text
}

// wants fails unless the page comes to show each text.
func (b *browser) wants(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.waitFor(`document.body.innerText.replace(/\s+/g, ' ').includes(` + quoted(text) + ")")
	}
}

// lacks fails if the page shows one of the texts.
func (b *browser) lacks(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if shown := b.text(); strings.Contains(shown, text) {
			b.t.Errorf("it says %q:\n%s", text, shown)
		}
	}
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// topmost finds things in the sheet that is open, or on the screen.
const topmost = "(Array.from(document.querySelectorAll('dialog[open]')).at(-1) ?? document)"

// named is the button, link or choice of that name.
func named(name string) string {
	return "Array.from(" + topmost + ".querySelectorAll('button, a, summary, label'))" +
		".find((e) => e.checkVisibility() && !e.disabled && (e.getAttribute('aria-label') ?? e.innerText).trim().replace(/\\s+/g, ' ') === " + quoted(name) + ")"
}

// field is the input of that label.
func field(label string) string {
	return "Array.from(" + topmost + ".querySelectorAll('label')).find((e) => e.innerText.trim() === " + quoted(label) + ")?.control"
}

// settled is whether a sheet that rises is up.
const settled = "document.getAnimations().every((a) => a.animationName !== 'rise' || a.playState === 'finished')"

// element waits for what an expression finds and returns WebDriver's name of it.
func (b *browser) element(expression string) string {
	b.t.Helper()
	b.waitFor(expression)
	b.waitFor(settled)
	found, err := eval[map[string]string](b, expression)
	if err != nil || len(found) != 1 {
		b.t.Fatalf("%s: %v, %v", expression, found, err)
	}
	for _, id := range found { // its key is the same for all elements
		return id
	}
	return ""
}

// onElement does something to what an expression finds. Where the page is drawn
// anew between finding and doing, which news from the phone's core brings about
// at any time, the browser has done nothing and says that the element is stale: it
// is found once more.
func (b *browser) onElement(expression string, act func(element string) error) error {
	b.t.Helper()
	for end := time.Now().Add(patience); ; {
		err := act(b.element(expression))
		if err == nil || !strings.Contains(err.Error(), "stale element reference") || time.Now().After(end) {
			return err
		}
	}
}

// tap clicks what has that name, as a person does.
func (b *browser) tap(name string) {
	b.t.Helper()
	if err := b.onElement(named(name), b.click); err != nil {
		b.t.Fatalf("tap %s: %v\nthe page shows:\n%s", name, err, b.text())
	}
}

// choose clicks what a CSS selector finds.
func (b *browser) choose(selector string) {
	b.t.Helper()
	if err := b.onElement(topmost+".querySelector("+quoted(selector)+")", b.click); err != nil {
		b.t.Fatalf("choose %s: %v", selector, err)
	}
}

// fill types into a field.
func (b *browser) fill(label, text string) {
	b.t.Helper()
	if err := b.onElement(field(label), func(id string) error { return b.keys(id, text) }); err != nil {
		b.t.Fatalf("type into %s: %v", label, err)
	}
}

// screen goes to a screen of the app, if it is not there.
func (b *browser) screen(name string) {
	b.t.Helper()
	if there, _ := eval[bool](b, "location.hash === "+quoted("#"+name)); there {
		return
	}
	b.run("location.hash = " + quoted("#"+name))
	b.waitFor("location.hash === " + quoted("#"+name) + " && document.activeElement?.id === 'title'")
}

// picture saves what the window shows, if the tests are asked to.
func (b *browser) picture(name string) {
	b.t.Helper()
	if *pictures == "" {
		return
	}
	b.run("requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.drawn = 'true'; }))")
	b.waitFor("document.documentElement.dataset.drawn")
	b.run("delete document.documentElement.dataset.drawn")
	var text string
	if err := json.Unmarshal(b.do(screenshot, map[string]any{"full": false}), &text); err != nil {
		b.t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = os.WriteFile(filepath.Join(*pictures, name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
