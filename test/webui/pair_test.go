package webui

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"

	"vmux/test/browser"
)

const invitation = "#v=1&d=mq7xw3ytbh5cfdgja2ses4lkpvo6iunrq7mba6rri5lnou2v2k4z&n=studio&s=the-one-time-secret"

// The secret of an invitation is in no address bar and no history once the app
// has seen it, and nobody is paired before the person has agreed.
func TestInvitationByLink(t *testing.T) {
	h := startHub(t)
	p := open(t, h, view{path: invitation})
	p.Wants("Pair with this computer?", "studio", "mq7x w3yt")
	p.checkForgotten()
	if got := calls(p, "previewInvitation"); len(got) != 1 || got[0]["invitation"] != h.URL+"/"+invitation {
		t.Errorf("previewInvitation was called with %v", got)
	}
	p.Tap("Cancel")
	p.WaitFor("document.querySelector('dialog') === null")
	if len(calls(p, "pair")) != 0 {
		t.Fatal("paired without agreement")
	}
	// The same in the app that is open already.
	p.Do("location.hash = " + browser.Quoted(invitation))
	p.Wants("Pair with this computer?")
	p.checkForgotten()
	p.Tap("Pair")
	p.says("Paired with studio.")
	p.checkForgotten()
	if got := calls(p, "pair"); len(got) != 1 {
		t.Errorf("pair was called with %v", got)
	}
}

func (p *tab) checkForgotten() {
	p.t.Helper()
	for _, e := range browser.Send(p, page.GetNavigationHistory, cdp.Empty{}).Entries {
		if strings.Contains(e.URL, "the-one-time-secret") {
			p.t.Errorf("the history holds %s", e.URL)
		}
	}
	if html := browser.Eval[string](p, "location.href + document.documentElement.outerHTML"); strings.Contains(html, "the-one-time-secret") {
		p.t.Error("the page or its address hold the secret")
	}
}

func TestInvitationByPaste(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("pair")
	p.Fill("Or paste the invitation", "hello")
	p.Tap("Continue")
	p.Wants("That is not a vmux invitation.", "Run `vmux pair` on the computer")
	p.Fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.WaitFor("document.querySelector('main textarea').value === ''")
	p.Do("fake.answers.pair = {code: 'pairingInvalid', message: 'The invitation was used up.'}")
	p.Tap("Pair")
	p.Wants("The invitation was used up.", "run “vmux pair” again")
}

func TestInvitationByCamera(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.")
	p.Do("fake.answers.decodeQR = 'https://example.org/elsewhere'")
	p.Wants("This code is no invitation of vmux.")
	p.Do("fake.answers.decodeQR = 'https://hub.example.org/" + invitation + "'")
	p.Wants("Pair with this computer?")
	if !browser.Eval[bool](p, "fake.calls.findLast((c) => c.name === 'decodeQR').args.imageData.data.some((v, i) => i % 4 === 0 && v > 200)") {
		t.Error("the pictures of the camera are dark")
	}
	p.Tap("Pair")
	p.says("Paired with studio.")
	// The camera is off once the screen is left.
	p.WaitFor("document.querySelector('video') === null")
	p.Do("fake.calls.length = 0; await new Promise((r) => setTimeout(r, 600))")
	if browser.Eval[bool](p, "fake.calls.some((c) => c.name === 'decodeQR')") {
		t.Error("the camera is still looked through")
	}
}

// A code before the camera puts nothing over an invitation that is being looked at,
// and an invitation that is declined leaves the camera to look for another.
func TestCameraWaitsForTheAnswer(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.")
	p.Fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.Do("fake.answers.decodeQR = 'https://hub.example.org/#v=1&s=another'; await new Promise((r) => setTimeout(r, 600))")
	if n := browser.Eval[int](p, "document.querySelectorAll('dialog').length"); n != 1 {
		t.Errorf("%d sheets are open", n)
	}
	p.Do("fake.answers.decodeQR = ''")
	p.Tap("Cancel")
	p.Do("location.hash = " + browser.Quoted(invitation))
	p.Wants("Pair with this computer?")
	p.Tap("Cancel")
	p.Wants("Hold the code inside the frame.")
	p.Do("location.hash = '#v=2&s=of another version'")
	p.Wants("That is not a vmux invitation.", "Hold the code inside the frame.")
}

// A computer that takes the name of one that is paired is not taken for it.
func TestNamesake(t *testing.T) {
	p := open(t, startHub(t), view{})
	for id, says := range map[string]string{"fake.full().computers[0].id": "It is paired already", "fake.full().computers[1].id.replace('y', 'z')": "Another computer has this name"} {
		p.Do("fake.answers.previewInvitation = {name: 'studio', id: " + id + ", hubURL: ''}; location.hash = " + browser.Quoted(invitation))
		p.Wants("Pair with this computer?", says)
		p.Tap("Cancel")
	}
	p.Do("fake.answers.previewInvitation = {name: 'tower', id: 'another', hubURL: ''}; location.hash = " + browser.Quoted(invitation))
	p.Wants("tower")
	p.Lacks("paired already")
}

func TestWithoutCamera(t *testing.T) {
	p := open(t, startHub(t), view{before: "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };"})
	p.Screen("pair")
	p.Wants("The app may not use the camera.", "paste the invitation")
}

// On an iPhone the page in Safari is not the app: it leads there first.
func TestInstallFirstOnIPhone(t *testing.T) {
	p := open(t, startHub(t), view{agent: iPhone, options: fresh, path: invitation})
	p.Wants("The pairing will not be in the installed app.")
	p.Tap("Cancel")
	p.Wants("First add vmux to the Home Screen")
	p.Screen("home")
	p.Wants("Share in Safari’s toolbar", "Add to Home Screen")
	installed := open(t, startHub(t), view{agent: iPhone, options: fresh, before: "Object.defineProperty(navigator, 'standalone', {value: true});"})
	installed.Wants("How to begin")
	installed.Lacks("Add to Home Screen")
}

// A notification says that something waits, not what.
func TestPushTellsNothing(t *testing.T) {
	h := startHub(t)
	p := openIn(t, browser.StartChromium(t), h, view{})
	p.Allow(h.URL, "notifications")
	p.WaitFor("navigator.serviceWorker.controller")
	// Chromium takes notifications away after 25 s: the page looks as soon as the worker
	// says that it has shown one.
	p.Do(`globalThis.shown = new Promise((resolve) => navigator.serviceWorker.addEventListener('message', async ({ data }) => {
		const list = await (await navigator.serviceWorker.ready).getNotifications();
		resolve(data.problem || JSON.stringify(list.map((n) => [n.title, n.body, n.data])));
	}, { once: true }))`)
	p.Push(h.URL, "studio wants deploy@web-1.example.org")
	said := browser.Eval[string](p, "globalThis.shown")
	if said != `[["A request is waiting","Open vmux to see it.",null]]` {
		t.Errorf("the notification is %s", said)
	}
}
