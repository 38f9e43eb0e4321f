package engines

import (
	"fmt"
	"path/filepath"
	"testing"

	"vmux/test/browser"
	"vmux/test/web"
)

// screens are those of the app, with the sheets that are largest, by address and
// by what is tapped or comes there.
var screens = []struct {
	name, address, tap, run string
}{
	{name: "home", address: "home"},
	{name: "sign", address: "home", run: "fake.sign()"},
	{name: "sign-changed", address: "home", run: "fake.sign({mustAcknowledge: true, lines: [{name: 'warning', value: 'web-1.example.org had another host key', quality: 'verified', warning: true}]})"},
	{name: "certificate", address: "home", run: "fake.certificate()"},
	{name: "identities", address: "identities"},
	{name: "identity", address: "identity=SHA256%3A9yKiFGIp6KO7tPl4ViQup7Jq%2FM1FNTRWcW2JcWQExSo"},
	{name: "rules", address: "identity=SHA256%3AZt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6K2xTqVe8M", tap: "Everything You are asked each time. Tap to limit it."},
	{name: "create-key", address: "identities", tap: "Create a key"},
	{name: "import-key", address: "identities", tap: "Import"},
	{name: "ca", address: "ca"},
	{name: "policy", address: "ca", tap: "Change the policy"},
	{name: "pair", address: "pair"},
	{name: "activity", address: "activity"},
	{name: "settings", address: "settings"},
	{name: "about", address: "settings", tap: "What this app can and cannot do"},
}

// wrong lists what is wider than the window, and sheets that hide what they hold
// though there is room for it.
const wrong = `(() => {
	const found = [];
	for (const e of document.querySelectorAll('html, body, main, .sheet-body, dialog, header, nav')) {
		if (e.checkVisibility() && e.scrollWidth > e.clientWidth + 1) {
			found.push(e.tagName + '.' + e.className + ': ' + e.scrollWidth + ' pixels wide in ' + e.clientWidth);
		}
	}
	for (const e of document.querySelectorAll('.sheet-body')) {
		if (e.scrollHeight > e.clientHeight + 1 && e.closest('dialog').offsetHeight < .9 * innerHeight) {
			found.push('a sheet shows ' + e.clientHeight + ' of ' + e.scrollHeight + ' pixels');
		}
	}
	return found;
})()`

func TestScreensInWebKit(t *testing.T) {
	t.Parallel()
	showScreens(t, "webkit", browser.StartWebKit(t, *dark))
}

func TestScreensInFirefox(t *testing.T) {
	t.Parallel()
	showScreens(t, "firefox", browser.StartFirefox(t, *dark))
}

func showScreens(t *testing.T, engine string, b *browser.Remote) {
	hub := web.StartPictures(t)
	for _, size := range [][2]int{{390, 844}, {320, 568}} {
		b.PopUp(size[0], size[1])
		for _, s := range screens {
			name := fmt.Sprintf("%s-%s-%d", s.name, engine, size[0])
			b.Go(hub.URL + "/?" + name + "#" + s.address) // another query, so that it is loaded anew
			b.Ready()
			if s.tap != "" {
				b.Tap(s.tap)
			}
			if s.run != "" {
				b.Do(s.run)
			}
			if s.tap+s.run != "" {
				b.WaitFor("document.querySelector('dialog[open]') !== null && " + browser.Settled)
			}
			if found := browser.Eval[[]string](b, wrong); len(found) > 0 {
				t.Errorf("%s: %q", name, found)
			}
			if *pictures != "" {
				browser.SavePNG(t, filepath.Join(*pictures, name+".png"), b.Picture())
			}
		}
	}
}
