package webui

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"vmux/internal/wire"
	"vmux/test/browser"
)

const (
	approveButton = "document.querySelector('dialog.request [data-key=approve]')"
	noSheet       = "document.querySelector('dialog') === null"
)

// paired is the app of a phone that is paired with the computer studio and has the
// passkey work.
func paired(t *testing.T, v view) (*tab, *computer) {
	t.Helper()
	p := open(t, startHub(t), v)
	p.passkey("work")
	return p, p.computer("studio")
}

// armed waits until the sheet that is shown can be approved.
func (p *tab) armed() {
	p.t.Helper()
	p.WaitFor("document.querySelector('dialog.request [data-key=approve]:enabled')")
}

// A sheet slides under a finger that was on its way to something else: that tap
// approves nothing.
func TestApproveIsInertAtFirst(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.Do(`globalThis.shown = new Promise((done) => {
		new MutationObserver(async (_, observer) => {
			const began = performance.now(); // in the task in which the sheet's own time begins
			const button = ` + approveButton + `;
			if (!button) {
				return;
			}
			observer.disconnect();
			const inert = button.disabled && button.classList.contains('arming');
			while (performance.now() - began < 440) {
				button.click();
				button.disabled = false; // even if somebody had switched it on
				button.click();
				await new Promise((r) => setTimeout(r, 20));
			}
			done(inert);
		}).observe(document.body, { childList: true });
	})`)
	login := studio.asks(wanted{})
	if !browser.Eval[bool](p, "shown") {
		t.Error("Approve is not shown as inert")
	}
	if got := p.calls("tap approve"); len(got) != 0 {
		t.Errorf("approved by early taps: %v", got)
	}
	p.WaitFor(approveButton + ".disabled === false && !" + approveButton + ".classList.contains('arming')")
	p.Tap("Approve")
	p.says("Signed for studio.")
	login.signed()
	if got := p.calls("tap approve"); len(got) != 1 || got[0]["active"] != true {
		t.Errorf("approve was called with %v, want once and straight from the tap", got)
	}
}

type point struct{ X, Y float64 }

// middle is where an element is pressed.
func (p *tab) middle(element string) point {
	return browser.Eval[point](p, "(() => { const r = "+element+".getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()")
}

// mouse presses its left button, or lets it go.
func (p *tab) mouse(kind input.DispatchMouseEventType, at point) {
	p.Act(chromedp.MouseEvent(kind, at.X, at.Y, chromedp.ButtonLeft, func(e *input.DispatchMouseEventParams) { e.ClickCount = 1 }))
}

// A press that began before the sheet was there ends on its button.
func TestApproveIgnoresAPressFromBefore(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	first := studio.asks(wanted{})
	p.armed()
	at := p.middle(approveButton)
	first.withdraw()
	p.WaitFor(noSheet)
	p.mouse(input.DispatchMouseEventTypeMousePressed, at)
	second := studio.asks(wanted{})
	p.armed()
	p.Do("addEventListener('pointerup', () => { " + approveButton + ".click(); globalThis.clicked = true; }, { once: true })")
	p.mouse(input.DispatchMouseEventTypeMouseReleased, at)
	p.WaitFor("globalThis.clicked")
	if got := p.calls("tap approve"); len(got) != 0 {
		t.Errorf("a press from before has approved: %v", got)
	}
	p.Tap("Approve")
	second.signed()
}

// A tap is none where its button is drawn anew before the press ends, as by a computer that
// connects meanwhile: what has changed is drawn after it.
func TestTapWhileTheScreenChanges(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	pair := browser.Button("Pair a computer")
	p.WaitFor(pair)
	at := p.middle(pair)
	const drawAnew = "dispatchEvent(new Event('installable'))"
	p.mouse(input.DispatchMouseEventTypeMousePressed, at)
	p.Do("globalThis.pressed = " + pair + "; " + drawAnew)
	p.mouse(input.DispatchMouseEventTypeMouseReleased, point{}) // elsewhere: no click
	p.WaitFor("!pressed.isConnected")
	p.mouse(input.DispatchMouseEventTypeMousePressed, at)
	p.Do(drawAnew)
	p.mouse(input.DispatchMouseEventTypeMouseReleased, at)
	p.WaitFor("location.hash === '#pair'")
}

func TestRequestsQueue(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	tower := p.computer("tower")
	first := studio.asks(wanted{})
	p.armed()
	second := tower.asks(wanted{})
	p.Wants("studio wants to log in as", "1 more waiting")
	// Another request beside it changes nothing in this one.
	if browser.Eval[bool](p, approveButton+".disabled") {
		t.Error("another request made Approve inert")
	}
	third := tower.asks(wanted{purpose: "root@prod.example.org"}) // which looks like a login, and is not said to be one
	p.Wants("2 more waiting")
	p.Tap("Deny")
	p.says("Denied. Nothing was signed.")
	first.refused(wire.CodeUserDenied)
	p.Wants("tower wants to log in as", "1 more waiting")
	p.WaitFor("document.title === '(2) vmux'")
	second.withdraw()
	p.says("tower no longer asks, or another phone has answered.")
	p.Wants(`tower wants you to sign "root@prod.example.org" signature`)
	third.withdraw()
	p.WaitFor(noSheet + " && document.title === 'vmux'")
}

// Of sudo all is the word of the host that asks, and the sheet says so.
func TestSudoOnASheet(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	request := studio.asks(wanted{sudo: "sudo -u postgres psql"})
	p.armed()
	p.Wants("studio asks for", "Sudo on web-1.example.org by deploy (claimed)", "Only the host that asks says so",
		"a challenge of pam_ssh_agent_auth, which logs in nowhere", "Said by the host that asks, not checked", "sudo -u postgres psql", "/srv", "Said by the computer, not checked")
	p.Hides("The server is not checked")
	p.Tap("Approve")
	p.says("Signed for studio.")
	request.signed()
	p.WaitFor(noSheet)
	p.Screen("activity")
	p.WaitFor("Array.from(document.querySelectorAll('.log summary')).some((s) => s.innerText.includes('Sudo on web-1'))")
	p.Do("Array.from(document.querySelectorAll('.log summary')).find((s) => s.innerText.includes('Sudo on web-1')).click()")
	p.Wants("sudo -u postgres psql (said by the host that asks)", "ssh ← zsh ← tmux (said by the computer)")
}

// A request can wait while the person looks something up; it is not forgotten.
func TestRequestPutAside(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	first := studio.asks(wanted{})
	p.armed()
	p.Act(chromedp.KeyEvent(kb.Escape))
	p.Wants("1 request waiting")
	p.Tap("Identities")
	p.Wants("1 request waiting")
	p.Tap("Show")
	p.Wants("wants to log in as")
	p.Tap("Decide later")
	second := studio.asks(wanted{}) // a new one brings them back
	p.Wants("wants to log in as", "1 more waiting")
	// Chromium 120 told of a second Escape or back, with no tap since the first, only when the
	// dialog was closed (material-web #5313, SchwarzIT/onyx #5054).
	p.Do("document.querySelector('dialog.request').close()")
	p.Wants("2 requests waiting")
	p.Tap("Show")
	for _, one := range []*asked{first, second} {
		p.armed()
		p.Tap("Approve")
		one.signed()
	}
}

func TestRequestExpires(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	login := studio.asks(wanted{within: 3 * time.Second})
	p.WaitFor("document.querySelector('.ring.hurry') !== null")
	p.core.silence() // the page knows the time by itself
	p.WaitFor("document.querySelector('.ring-number').textContent === '0' && " + approveButton + ".disabled")
	p.says("Too late: the request has expired.")
	login.refused(wire.CodeRequestExpired)
}

func TestRequestFails(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{before: browser.QuirkScript(t, "passkey-refusal")})
	login := studio.asks(wanted{})
	p.armed()
	p.Do("globalThis.passkeyRefusal = {name: 'NotAllowedError'}")
	p.Tap("Approve")
	p.Wants("The passkey was not used. It was cancelled, took too long")
	p.Do("globalThis.passkeyRefusal = {how: 'never'}")
	p.armed()
	p.Tap("Approve")
	p.Wants("Waiting for you to confirm it is you")
	if !browser.Eval[bool](p, approveButton+".disabled") {
		t.Error("Approve can be tapped again while the browser asks")
	}
	login.withdraw()
	p.says("studio no longer asks, or another phone has answered.")
}

// issuing gives the phone a CA for these accounts, which computers may ask by themselves.
func (p *tab) issuing(accounts ...string) {
	p.t.Helper()
	p.call("createCA", map[string]any{"kind": "vault", "principals": accounts})
	policy := p.core.state().CA.Policy
	policy.AutomaticIssuance = true
	p.call("setPolicy", map[string]any{"policy": policy})
}

// What changes under the finger is something else to approve, and what is signed is what
// was shown.
func TestCertificateChoices(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.issuing("ada", "deploy")
	request, cert := studio.asksForCertificate(false)
	p.armed()
	choice := func(selector string) {
		t.Helper()
		click := "(() => { document.querySelector('" + selector + "').click(); return [" + approveButton + ".disabled, document.querySelector('.request-status').textContent].join(); })()"
		if got := browser.Eval[string](p, click); got != "true,Preparing what is to be signed…" {
			t.Errorf("after a choice: %s; Approve may not work before the certificate that is shown is the one to be signed", got)
		}
		p.armed()
	}
	choice("[data-key=validity-3600]")
	choice("[data-key=check-deploy]")
	p.Tap("Approve")
	p.says("Issued for studio.")
	request.signed()
	if left := time.Until(time.Unix(int64(cert.ValidBefore), 0)); strings.Join(cert.ValidPrincipals, " ") != "ada" || left > time.Hour || left < 50*time.Minute {
		t.Errorf("for %v, and still %v", cert.ValidPrincipals, left)
	}
	p.WaitFor(noSheet)
	request, _ = studio.asksForCertificate(true)
	p.armed()
	p.Wants("The computer asks by itself")
	choice("[data-key=check-deploy]")
	decided := len(p.calls("decide"))
	p.Tap("ada")
	p.Wants("Choose at least one account.")
	if !browser.Eval[bool](p, approveButton+".disabled") || len(p.calls("decide")) != decided {
		t.Error("a certificate for nobody can be approved")
	}
	request.withdraw()
}

// signs approves a request as it is.
func (p *tab) signs(a *asked) {
	p.t.Helper()
	p.armed()
	p.Tap("Approve")
	a.signed()
	p.WaitFor(noSheet)
}

// refuses denies a request.
func (p *tab) refuses(o *computer, w wanted) {
	p.t.Helper()
	a := o.asks(w)
	p.Tap("Deny")
	a.refused(wire.CodeUserDenied)
	p.WaitFor(noSheet)
}

// A screen reader hears of a request, and the focus is on what is asked.
func TestRequestIsAnnounced(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	login := studio.asks(wanted{})
	defer login.withdraw()
	p.WaitFor("document.querySelector('#live').textContent.includes('studio wants to log in as deploy@web-1.example.org')")
	p.WaitFor("document.activeElement.matches('dialog.request h2')")
	for range 12 {
		p.Act(chromedp.KeyEvent(kb.Tab))
		if !browser.Eval[bool](p, "document.activeElement === document.body || document.activeElement.closest('dialog.request') !== null") {
			t.Fatalf("the focus has left the sheet: %s", browser.Eval[string](p, "document.activeElement.outerHTML.slice(0, 200)"))
		}
	}
	if d := browser.Eval[float64](p, "Number(document.querySelector('.ring-number').textContent)"); d < 20 || d > 60 {
		t.Errorf("%v seconds left, want about 60", d)
	}
	second := studio.asks(wanted{host: "web-2.example.org"})
	defer second.withdraw()
	// What lies below an open sheet is none of the page's to a screen reader (daintree#9196).
	p.WaitFor(`Array.from(document.querySelectorAll('[aria-live=assertive]')).some((e) =>
		e.closest('dialog[open]') === Array.from(document.querySelectorAll('dialog[open]')).at(-1) && e.textContent.includes('deploy@web-2.example.org'))`)
}
