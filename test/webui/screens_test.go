package webui

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"vmux/test/browser"
)

var write = flag.Bool("write", false, "write the screenshots and icons into the repository")

// shot is one screen or sheet of the app, as it is documented.
type shot struct {
	name string
	view view
	show func(*tab)
}

func at(screen string) func(*tab) { return func(p *tab) { p.Screen(screen) } }

// sheetAt opens a screen and taps there.
func sheetAt(screen string, taps ...string) func(*tab) {
	return func(p *tab) {
		p.Screen(screen)
		for _, name := range taps {
			p.Tap(name)
		}
	}
}

const passkey = "identity=SHA256%3A9yKiFGIp6KO7tPl4ViQup7Jq%2FM1FNTRWcW2JcWQExSo"

const vaultKey = "identity=SHA256%3AZt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6K2xTqVe8M"

// iPhone is Safari on iOS.
const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"

const (
	grantable = "sign({grantable: true, label: 'deploy', keyKind: 'vault', fingerprint: fake.full().identities[1].fingerprint})"
	// granted is Home while a key may be used without asking.
	granted = `fake.set({grants: {enabled: true, list: [
			{id: 'g1', label: 'deploy', computer: 'studio', what: 'deploy@web-1.example.org', since: Date.now() - 120000, until: Date.now() + 800000},
			{id: 'g2', label: 'deploy', computer: 'studio', what: 'git signatures', since: Date.now(), until: Date.now() + 3600000}]},
		pauses: [{computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 240000}]})`
)

var shots = []shot{
	{"welcome", view{fresh: true}, at("home")},
	{"welcome-iphone", view{fresh: true, agent: iPhone}, at("home")},
	{"home", view{}, at("home")},
	{"sign", view{}, func(p *tab) { p.arrive("sign()") }},
	{"sign-unknown", view{}, func(p *tab) {
		p.arrive("sign({quality: 'unknown', title: 'deploy@unknown', lines: [{name: 'user', value: 'deploy', quality: 'verified'}," +
			" {name: 'server', value: 'not known: nothing in what is signed names it', quality: 'verified'}]})")
		p.Do("fake.sign({id: 's2'}); fake.sign({id: 's3'})")
	}},
	{"sign-changed", view{}, func(p *tab) {
		p.Do("fake.sign({mustAcknowledge: true, hostChanged: true, title: 'deploy@web-1.example.org (claimed)', acknowledgement: 'I know why the host key is another one.', lines: [{name: 'warning', value: 'web-1.example.org had another host key: SHA256:AAuvPu3OtSkWl+SX8NxEKDBOPd4Wx5VAeCLPgFvsp6Q', quality: 'verified', warning: true}," +
			" {name: 'user', value: 'deploy', quality: 'verified'}, {name: 'server', value: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE', quality: 'verified'}, {name: 'name', value: 'web-1.example.org', quality: 'claimed'}]})")
		p.Wants("tick the box first")
	}},
	{"sign-together", view{}, func(p *tab) {
		p.arrive(grantable)
		for _, n := range []string{"2", "3"} {
			p.Do("fake." + strings.Replace(grantable, "{", "{id: 's"+n+"', title: 'deploy@web-"+n+".example.org', ", 1))
		}
		p.WaitFor("!" + approveButton + ".disabled")
	}},
	{"answers", view{}, func(p *tab) {
		p.arrive(grantable)
		p.Tap("Other answers")
		p.WaitFor(grantButton + ":enabled')")
	}},
	{"sign-passphrase", view{}, func(p *tab) {
		p.arrive("sign({label: 'deploy', keyKind: 'passphrase', fingerprint: fake.full().identities[1].fingerprint})")
	}},
	{"create-passphrase", view{}, func(p *tab) {
		p.Do("fake.set({...fake.desktop(), passphrases: 0})")
		sheetAt("identities", "Create a key")(p)
		p.Do("document.querySelector('[data-key=kind-passphrase]').click()")
		p.Do("document.querySelector('.sheet-body').scrollTo(0, 1e4)")
	}},
	{"identity-passphrase", view{}, func(p *tab) {
		p.Do("fake.set(fake.desktop())")
		p.Screen(vaultKey)
		p.Wants("Passphrase key")
	}},
	{"change-passphrase", view{}, func(p *tab) {
		p.Do("fake.set(fake.desktop())")
		sheetAt(vaultKey, "Change the passphrase Of the 2 keys in the vault")(p)
	}},
	{"certificate", view{}, func(p *tab) { p.arrive("certificate()") }},
	{"granted", view{}, func(p *tab) {
		p.Do(granted)
		p.Wants("Approved in advance", "Paused")
	}},
	{"rules", view{}, sheetAt(vaultKey, "Everything You are asked each time. Tap to limit it.")},
	{"servers", view{}, func(p *tab) {
		p.Screen("hosts")
		p.Wants("web-1.example.org")
	}},
	{"revoke", view{}, func(p *tab) {
		p.Screen("ca")
		p.Do("document.querySelector('[data-key^=certificate-]').click()")
	}},
	{"log-checked", view{}, func(p *tab) {
		sheetAt("activity", "Check the log")(p)
		p.Wants("Older records gave way to newer ones", "Ended without your decision: the first 812 records, until", "1 certificate expired, 41200 signatures refused, 96 signatures withdrawn")
	}},
	{"identities", view{}, at("identities")},
	{"identity", view{}, at(passkey)},
	{"create-key", view{}, sheetAt("identities", "Create a key")},
	{"import-key", view{}, sheetAt("identities", "Import")},
	{"ca", view{}, at("ca")},
	{"ca-none", view{fresh: true}, at("ca")},
	{"create-ca", view{fresh: true}, sheetAt("ca", "Create a CA")},
	{"policy", view{}, sheetAt("ca", "Change the policy")},
	{"pair", view{}, func(p *tab) {
		p.Screen("pair")
		p.Wants("Hold the code inside the frame.")
	}},
	{"pair-confirm", view{fresh: true, path: "#v=1&d=aa&n=studio&s=secret"}, func(p *tab) {
		p.Wants("Pair with this computer?")
		p.WaitFor(browser.Button("Pair") + "?.disabled === false")
	}},
	{"activity", view{}, at("activity")},
	{"settings", view{}, at("settings")},
	{"only-one-way-in", view{}, func(p *tab) {
		p.Do("fake.set({secondWay: {at: 0, uncovered: ['deploy'], missing: ['work'], alone: true}})")
		p.Wants("There is only one way in")
	}},
	{"backup", view{}, at("backup")},
	{"make-backup", view{}, func(p *tab) {
		makeBackup(p)
		p.WaitFor("document.querySelector('dialog input').value !== ''")
	}},
	{"backup-made", view{}, func(p *tab) {
		makeBackup(p)
		p.Do("document.querySelector('[data-key=noted]').click()")
		p.Tap("Make the backup")
		p.Wants("The backup is made")
	}},
	{"restore-backup", view{}, func(p *tab) {
		p.Screen("backup")
		p.Do("document.querySelector('[data-key=restore-backup]').click()")
		p.Do("const d = new DataTransfer(); d.items.add(new File(['age'], 'phone.age')); document.querySelector('dialog [type=file]').files = d.files;" +
			" document.querySelector('dialog [type=password]').value = 'K7QXM-2VDTA-ZB4HP-N6RWC'")
		p.Tap("Open")
		p.Wants("A backup of", "restored as archive 2")
	}},
	{"recovery", view{}, at("recovery")},
	{"about", view{}, sheetAt("settings", "What this app can and cannot do")},
	{"computer", view{}, func(p *tab) {
		p.Screen("home")
		p.Do("document.querySelector('[data-key^=computer-yo6]').click()")
	}},
}

func makeBackup(p *tab) {
	p.Screen("backup")
	p.Do("document.querySelector('[data-key=make-backup]').click()")
}

// arrive lets a request come, and waits until it can be approved.
func (p *tab) arrive(call string) {
	p.t.Helper()
	p.Do("fake." + call)
	p.WaitFor("document.querySelector('dialog.request [data-key=approve]:enabled')")
}

func (p *tab) settle() {
	p.t.Helper()
	p.WaitFor("document.getAnimations().every((a) => a instanceof CSSTransition || a.playState === 'finished')")
}

// Each screen and sheet, at the sizes and in the colours it may be seen in: axe
// finds nothing serious, nothing sticks out of 320 pixels, and every target is
// large enough for a thumb.
func TestScreens(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(root, ".cache/npm/node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatalf("axe-core is missing: run `make setup`: %v", err)
	}
	t.Parallel()
	h := startPictures(t)
	for _, s := range shots {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := open(t, h, s.view)
			s.show(p)
			for i, v := range []view{{}, {dark: true}, {width: 320, height: 568}, {width: 844, height: 390}, {width: 1200, height: 900}} {
				p.look(v)
				p.settle()
				what := fmt.Sprintf("%dx%d, dark %v", v.width, v.height, v.dark)
				p.checkFits(what)
				if i >= 2 {
					continue // what axe looks for does not depend on the size
				}
				p.checkAxe(what, string(axe))
			}
			p.checkVerbatim()
		})
	}
}

// checkFits finds what is wider than the screen and targets under 44 pixels.
func (p *tab) checkFits(what string) {
	p.t.Helper()
	wide := browser.Eval[[]string](p, `(() => {
		const found = [];
		for (const e of [document.documentElement, document.body, ...document.querySelectorAll('main, .sheet-body, dialog, header, nav')]) {
			if (e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'none') {
				found.push(e.tagName + '.' + e.className + ' ' + e.scrollWidth + ' in ' + e.clientWidth);
			}
		}
		return found;
	})()`)
	for _, w := range wide {
		p.t.Errorf("%s: scrolls sideways: %s", what, w)
	}
	small := browser.Eval[[]string](p, `(() => {
		const top = Array.from(document.querySelectorAll('dialog[open]')).at(-1) ?? document;
		return Array.from(top.querySelectorAll('button, a, summary, input, textarea')).filter((e) => {
			const target = e.matches('[type=radio], [type=checkbox]') ? e.closest('label') : e;
			const r = target.getBoundingClientRect();
			return e.checkVisibility() && !e.matches('.skip') && (r.height < 43.5 || r.width < 43.5);
		}).map((e) => e.outerHTML.slice(0, 120));
	})()`)
	for _, s := range small {
		p.t.Errorf("%s: the target is under 44 pixels: %s", what, s)
	}
	zooming := browser.Eval[[]string](p, `Array.from(document.querySelectorAll('input:not([type=radio], [type=checkbox]), textarea, select'))
		.filter((e) => parseFloat(getComputedStyle(e).fontSize) < 16).map((e) => e.outerHTML.slice(0, 120))`)
	for _, s := range zooming {
		p.t.Errorf("%s: Safari on iOS zooms in on letters under 16 pixels: %s", what, s)
	}
}

// checkVerbatim finds names, keys and commands that a browser would translate, and fields
// whose text it would correct.
func (p *tab) checkVerbatim() {
	p.t.Helper()
	found := browser.Eval[[]string](p, `(() => {
		const found = [], nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let node; (node = nodes.nextNode());) {
			if (/SHA256:[0-9A-Za-z+/]|example\.org|ssh-ed25519|ecdsa-sha2|vmux [a-z]+ [a-z]+$|^([0-9a-z]{4} ){3}/.test(node.data) && node.parentElement.translate) {
				found.push(node.data.slice(0, 80));
			}
		}
		return found;
	})()`)
	for _, f := range found {
		p.t.Errorf("a browser would translate %q", f)
	}
	corrected := browser.Eval[[]string](p, `Array.from(document.querySelectorAll('input[type=text], textarea'))
		.filter((e) => !e.readOnly && e.getAttribute('autocorrect') !== 'off').map((e) => e.outerHTML.slice(0, 120))`)
	for _, c := range corrected {
		p.t.Errorf("Safari would correct what is typed: %s", c)
	}
}

// checkAxe runs axe in the page, past its Content-Security-Policy, which is not
// made for it.
func (p *tab) checkAxe(what, axe string) {
	p.t.Helper()
	browser.Send(p, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
	p.Act(chromedp.Evaluate[chromedp.Void](axe))
	found := browser.Eval[json.RawMessage](p, `axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations
		.filter((v) => v.impact === 'serious' || v.impact === 'critical' || v.impact === 'moderate')
		.map((v) => [v.id, v.help, ...v.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary)]))`)
	if string(found) != "[]" {
		p.t.Errorf("%s: axe finds %s", what, found)
	}
}

// The documentation shows each screen as it is: light and dark, 390 × 844.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	h := startPictures(t)
	for _, s := range shots {
		for _, dark := range []bool{false, true} {
			name := s.name + map[bool]string{false: "-light.png", true: "-dark.png"}[dark]
			t.Run(strings.TrimSuffix(name, ".png"), func(t *testing.T) {
				v := s.view
				v.dark = dark
				path := filepath.Join(root, "docs/screenshots", name)
				if *write { // that each can be shown, TestScreens sees
					p := open(t, h, v)
					s.show(p)
					p.settle()
					browser.SavePNG(t, path, p.Picture())
				}
				checkPNG(t, path, 390, 844)
			})
		}
	}
}
