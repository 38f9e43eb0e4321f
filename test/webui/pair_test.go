package webui

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"
)

const invitation = "#v=1&d=mq7xw3ytbh5cfdgja2ses4lkpvo6iunrq7mba6rri5lnou2v2k4z&n=studio&s=the-one-time-secret"

// The secret of an invitation is in no address bar and no history once the app
// has seen it, and nobody is paired before the person has agreed.
func TestInvitationByLink(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{path: invitation})
	p.wants("Pair with this computer?", "studio", "mq7x w3yt")
	p.checkForgotten()
	if got := calls(p, "previewInvitation"); len(got) != 1 || got[0]["invitation"] != h.URL+"/"+invitation {
		t.Errorf("previewInvitation was called with %v", got)
	}
	p.tap("Cancel")
	p.waitFor("document.querySelector('dialog') === null")
	if len(calls(p, "pair")) != 0 {
		t.Fatal("paired without agreement")
	}
	// The same in the app that is open already.
	p.do("location.hash = " + quoted(invitation))
	p.wants("Pair with this computer?")
	p.checkForgotten()
	p.tap("Pair")
	p.says("Paired with studio.")
	p.checkForgotten()
	if got := calls(p, "pair"); len(got) != 1 {
		t.Errorf("pair was called with %v", got)
	}
}

func (p *tab) checkForgotten() {
	p.t.Helper()
	history, err := chromedp.Run(p.ctx, chromedp.NavigationEntries())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range history.Entries {
		if strings.Contains(e.URL, "the-one-time-secret") {
			p.t.Errorf("the history holds %s", e.URL)
		}
	}
	if html := eval[string](p, "location.href + document.documentElement.outerHTML"); strings.Contains(html, "the-one-time-secret") {
		p.t.Error("the page or its address hold the secret")
	}
}

func TestInvitationByPaste(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.screen("pair")
	p.fill("Or paste the invitation", "hello")
	p.tap("Continue")
	p.wants("That is not a vmux invitation.", "Run `vmux pair` on the computer")
	p.fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.tap("Continue")
	p.wants("Pair with this computer?")
	p.waitFor("document.querySelector('main textarea').value === ''")
	p.do("fake.answers.pair = {code: 'pairingInvalid', message: 'The invitation was used up.'}")
	p.tap("Pair")
	p.wants("The invitation was used up.", "run “vmux pair” again")
}

func TestInvitationByCamera(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.screen("pair")
	p.wants("Hold the code inside the frame.")
	p.do("fake.answers.decodeQR = 'https://example.org/elsewhere'")
	p.wants("This code is no invitation of vmux.")
	p.do("fake.answers.decodeQR = 'https://hub.example.org/" + invitation + "'")
	p.wants("Pair with this computer?")
	if !eval[bool](p, "fake.calls.findLast((c) => c.name === 'decodeQR').args.imageData.data.some((v, i) => i % 4 === 0 && v > 200)") {
		t.Error("the pictures of the camera are dark")
	}
	p.tap("Pair")
	p.says("Paired with studio.")
	// The camera is off once the screen is left.
	p.waitFor("document.querySelector('video') === null")
	p.do("fake.calls.length = 0; await new Promise((r) => setTimeout(r, 600))")
	if eval[bool](p, "fake.calls.some((c) => c.name === 'decodeQR')") {
		t.Error("the camera is still looked through")
	}
}

// A code before the camera puts nothing over an invitation that is being looked at,
// and an invitation that is declined leaves the camera to look for another.
func TestCameraWaitsForTheAnswer(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.screen("pair")
	p.wants("Hold the code inside the frame.")
	p.fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.tap("Continue")
	p.wants("Pair with this computer?")
	p.do("fake.answers.decodeQR = 'https://hub.example.org/#v=1&s=another'; await new Promise((r) => setTimeout(r, 600))")
	if n := eval[int](p, "document.querySelectorAll('dialog').length"); n != 1 {
		t.Errorf("%d sheets are open", n)
	}
	p.do("fake.answers.decodeQR = ''")
	p.tap("Cancel")
	p.do("location.hash = " + quoted(invitation))
	p.wants("Pair with this computer?")
	p.tap("Cancel")
	p.wants("Hold the code inside the frame.")
	p.do("location.hash = '#v=2&s=of another version'")
	p.wants("That is not a vmux invitation.", "Hold the code inside the frame.")
}

// A computer that takes the name of one that is paired is not taken for it.
func TestNamesake(t *testing.T) {
	p := open(t, startHub(t), view{})
	for id, says := range map[string]string{"fake.full().computers[0].id": "It is paired already", "fake.full().computers[1].id.replace('y', 'z')": "Another computer has this name"} {
		p.do("fake.answers.previewInvitation = {name: 'studio', id: " + id + ", hubURL: ''}; location.hash = " + quoted(invitation))
		p.wants("Pair with this computer?", says)
		p.tap("Cancel")
	}
	p.do("fake.answers.previewInvitation = {name: 'tower', id: 'another', hubURL: ''}; location.hash = " + quoted(invitation))
	p.wants("tower")
	if text := p.text(); strings.Contains(text, "paired already") {
		t.Errorf("a new computer: %s", text)
	}
}

func TestWithoutCamera(t *testing.T) {
	p := open(t, startHub(t), view{before: "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };"})
	p.screen("pair")
	p.wants("The app may not use the camera.", "paste the invitation")
}

// On an iPhone the page in Safari is not the app: it leads there first.
func TestInstallFirstOnIPhone(t *testing.T) {
	p := open(t, startHub(t), view{agent: iPhone, options: fresh, path: invitation})
	p.wants("The pairing will not be in the installed app.")
	p.tap("Cancel")
	p.wants("First add vmux to the Home Screen")
	p.screen("home")
	p.wants("Share in Safari’s toolbar", "Add to Home Screen")
	installed := open(t, startHub(t), view{agent: iPhone, options: fresh, before: "Object.defineProperty(navigator, 'standalone', {value: true});"})
	installed.wants("How to begin")
	if strings.Contains(installed.text(), "Add to Home Screen") {
		t.Error("the installed app asks to be installed")
	}
}

// A notification says that something waits, not what.
func TestPushTellsNothing(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{})
	p.allow("notifications")
	p.waitFor("navigator.serviceWorker.controller")
	p.pushTo("studio wants deploy@web-1.example.org")
	said := eval[string](p, `(async () => {
		const r = await navigator.serviceWorker.ready;
		for (;;) {
			const list = await r.getNotifications();
			if (list.length) {
				return JSON.stringify(list.map((n) => [n.title, n.body, n.data]));
			}
			await new Promise((r) => setTimeout(r, 50));
		}
	})()`)
	if said != `[["A request is waiting","Open vmux to see it.",null]]` {
		t.Errorf("the notification is %s", said)
	}
}

func (p *tab) allow(permission string) {
	p.t.Helper()
	c := chromedp.FromContext(p.ctx)
	_, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: permission}, Setting: browser.PermissionSettingGranted,
		Origin: p.hub.URL, BrowserContextID: c.BrowserContextID,
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// pushTo delivers a push message, as the browser's push service does.
func (p *tab) pushTo(data string) {
	p.t.Helper()
	send(p, serviceworker.Enable, cdp.Empty{})
	p.waitFor("navigator.serviceWorker.controller")
	var id serviceworker.RegistrationID
	for deadline := time.Now().Add(patience); id == ""; {
		if time.Now().After(deadline) {
			p.t.Fatal("no registration of a service worker")
		}
		p.mu.Lock()
		id = p.worker
		p.mu.Unlock()
		p.waitFor("true")
	}
	send(p, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{Origin: p.hub.URL, RegistrationID: id, Data: data})
}
