package webui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"rsc.io/qr"

	"vmux/test/browser"
)

// fragment is what an invitation adds to the app's address.
func fragment(invitation string) string {
	return invitation[strings.Index(invitation, "#"):]
}

// The secret of an invitation is in no address bar and no history once the app
// has seen it, and nobody is paired before the person has agreed.
func TestInvitationByLink(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	studio := h.core.computer("studio")
	link := fragment(studio.invites())
	p := open(t, h, view{path: link})
	id := studio.id.String()
	p.Wants("Pair with this computer?", "studio", id[:4]+" "+id[4:8])
	p.checkForgotten(link)
	p.Tap("Cancel")
	p.WaitFor(noSheet)
	// The same in the app that is open already.
	p.Do("location.hash = " + browser.Quoted(link))
	p.Wants("Pair with this computer?")
	p.checkForgotten(link)
	if len(p.core.state().Computers) != 0 {
		t.Fatal("paired without agreement")
	}
	p.Tap("Pair")
	p.says("Paired with studio.")
	p.checkForgotten(link)
	if list := p.core.state().Computers; len(list) != 1 || list[0].ID != id {
		t.Errorf("paired with %v", list)
	}
}

func (p *tab) checkForgotten(link string) {
	p.t.Helper()
	_, secret, _ := strings.Cut(link, "&s=")
	secret, _, _ = strings.Cut(secret, "&")
	for _, e := range browser.Send(p, page.GetNavigationHistory, cdp.Empty{}).Entries {
		if strings.Contains(e.URL, secret) {
			p.t.Errorf("the history holds %s", e.URL)
		}
	}
	if html := browser.Eval[string](p, "location.href + document.documentElement.outerHTML"); strings.Contains(html, secret) {
		p.t.Error("the page or its address hold the secret")
	}
}

func TestInvitationByPaste(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	studio := p.core.computer("studio")
	invitation := studio.invites()
	p.Screen("pair")
	p.Fill("Or paste the invitation", "hello")
	p.Tap("Continue")
	p.Wants("That is not a vmux invitation.", "Run `vmux pair` on the computer")
	// As it comes out of a terminal (openclaw 53464), with the quotes of the command.
	p.Do("document.querySelector('main textarea').value = " + browser.Quoted("'"+invitation[:60]+"\n   "+invitation[60:]+"\u200b' "))
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.WaitFor("document.querySelector('main textarea').value === ''")
	studio.offer.End() // another phone was faster
	p.Tap("Pair")
	p.Wants("The invitation was used already or has expired.", "Run `vmux pair` on the computer again.")
}

// lens has the camera see what show is told to: a text's code, or nothing.
const lens = `if (globalThis.MediaDevices) {
	const canvas = document.createElement('canvas');
	canvas.width = canvas.height = 480;
	let rows = [];
	globalThis.show = (code) => { rows = code; };
	const draw = () => {
		const pen = canvas.getContext('2d');
		pen.fillStyle = 'white';
		pen.fillRect(0, 0, 480, 480);
		pen.fillStyle = 'black';
		rows.forEach((row, y) => [...row].forEach((black, x) => black === '1' && pen.fillRect(50 + 6 * x, 50 + 6 * y, 6, 6)));
	};
	MediaDevices.prototype.getUserMedia = async () => {
		setInterval(draw, 50);
		return globalThis.stream = canvas.captureStream();
	};
};`

// show holds a code before the lens.
func (p *tab) show(text string) {
	p.t.Helper()
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		p.t.Fatal(err)
	}
	var rows strings.Builder
	for y := range code.Size {
		rows.WriteString("'")
		for x := range code.Size {
			fmt.Fprintf(&rows, "%d", map[bool]int{true: 1}[code.Black(x, y)])
		}
		rows.WriteString("',")
	}
	p.Do("show([" + rows.String() + "])")
}

func TestInvitationByCamera(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.")
	p.show("https://example.org/elsewhere")
	p.Wants("This code is no invitation of vmux.")
	p.show(p.core.computer("studio").invites())
	p.Wants("Pair with this computer?")
	p.Tap("Pair")
	p.says("Paired with studio.")
	// The camera is off once the screen is left.
	p.WaitFor("document.querySelector('video') === null && stream.getTracks().every((track) => track.readyState === 'ended')")
}

// A code before the camera puts nothing over an invitation that is being looked at,
// and an invitation that is declined leaves the camera to look for another.
func TestCameraWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	invitation := p.core.computer("studio").invites()
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.")
	p.Fill("Or paste the invitation", invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.show(p.core.computer("tower").invites())
	p.Do("await new Promise((r) => setTimeout(r, 600))")
	if n := browser.Eval[int](p, "document.querySelectorAll('dialog').length"); n != 1 {
		t.Errorf("%d sheets are open", n)
	}
	p.Do("show([]); await new Promise((r) => setTimeout(r, 200))")
	p.Tap("Cancel")
	p.Do("location.hash = " + browser.Quoted(fragment(invitation)))
	p.Wants("Pair with this computer?")
	p.Tap("Cancel")
	p.Wants("Hold the code inside the frame.")
	p.Do("location.hash = '#v=2&s=of another version'")
	p.Wants("That is not a vmux invitation.", "Hold the code inside the frame.")
}

// A computer that takes the name of one that is paired is not taken for it.
func TestNamesake(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	studio := p.computer("studio")
	follow := func(o *computer) {
		t.Helper()
		p.Do("location.hash = " + browser.Quoted(fragment(o.invites())))
		p.Wants("Pair with this computer?")
	}
	follow(studio)
	p.Wants("It is paired already")
	p.Tap("Cancel")
	p.WaitFor(noSheet)
	follow(p.core.computer("studio"))
	p.Wants("Another computer has this name")
	p.Tap("Cancel")
	p.WaitFor(noSheet)
	follow(p.core.computer("tower"))
	p.Wants("tower")
	p.Lacks("paired already")
}

func TestWithoutCamera(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{before: "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };"})
	p.Screen("pair")
	p.Wants("The app may not use the camera.", "paste the invitation")
}

// On an iPhone the page in Safari is not the app: it leads there first.
func TestInstallFirstOnIPhone(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{agent: iPhone, path: fragment(h.core.computer("studio").invites())})
	p.Wants("The pairing will not be in the installed app.")
	p.Tap("Cancel")
	p.Wants("First add vmux to the Home Screen")
	p.Screen("home")
	p.Wants("Share in Safari’s toolbar", "Add to Home Screen")
	installed := open(t, startHub(t), view{agent: iPhone, before: "Object.defineProperty(navigator, 'standalone', {value: true});"})
	installed.Wants("How to begin")
	installed.Lacks("Add to Home Screen")
}

// A messenger or a reader of codes that opens the link in a browser of its own keeps apart what
// is made there, if at all (arkade-os/wallet#418, ithacaxyz/porto#349).
func TestBrowserInsideAnotherApp(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{
		"Mozilla/5.0 (Linux; Android 16; 24030PN60G Build/BP2A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 380.0.0.28.85",
	} {
		h := startHub(t)
		p := open(t, h, view{agent: agent, path: fragment(h.core.computer("studio").invites())})
		p.Wants("This looks like a browser inside another app", "Open "+h.URL+" in Safari, Chrome or Firefox itself")
		p.Lacks("This is Safari")
		p.Tap("Cancel")
		p.Screen("home")
		p.Wants("This looks like a browser inside another app", "Pair here all the same")
		p.Lacks("Share in Safari’s toolbar")
		p.Lacks("Install the app")
	}
}

// A notification says that something waits, not what.
func TestPushTellsNothing(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := openIn(t, browser.StartChromium(t), h, view{before: "Notification.prototype.close = () => {};"}) // the page sees it
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
