package webui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"vmux/test/browser"
)

const approveButton = "document.querySelector('dialog.request [data-key=approve]')"

// A sheet slides under a finger that was on its way to something else: that tap
// approves nothing.
func TestApproveIsInertAtFirst(t *testing.T) {
	p := open(t, startHub(t), view{})
	early := browser.Eval[string](p, `(async () => {
		const began = performance.now(); // before the sheet's own time begins
		fake.sign();
		const button = `+approveButton+`;
		const shown = button.disabled && button.classList.contains('arming');
		while (performance.now() - began < 440) {
			button.click();
			button.disabled = false; // even if somebody had switched it on
			button.click();
			await new Promise((r) => setTimeout(r, 20));
		}
		return JSON.stringify([shown, fake.calls.filter((c) => c.name === 'approve').length]);
	})()`)
	if early != "[true,0]" {
		t.Errorf("shown as inert, and approved so often by early taps: %s", early)
	}
	p.WaitFor(approveButton + ".disabled === false && !" + approveButton + ".classList.contains('arming')")
	p.Tap("Approve")
	p.says("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 1 || got[0]["active"] != true {
		t.Errorf("approve was called with %v, want once and straight from the tap", got)
	}
}

// What changes under the finger is something else to approve.
func TestApproveIsInertAfterAChange(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	if browser.Eval[bool](p, "fake.sign({title: 'root@web-1.example.org'}), "+approveButton+".disabled") != true {
		t.Error("Approve works at once after the sheet has changed")
	}
	p.WaitFor("!" + approveButton + ".disabled")
	// Another request beside it changes nothing in this one.
	if browser.Eval[bool](p, "fake.sign({id: 's2'}), "+approveButton+".disabled") {
		t.Error("another request made Approve inert")
	}
}

// A press that began before the sheet was there ends on its button.
func TestApproveIgnoresAPressFromBefore(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	type point struct{ X, Y float64 }
	at := browser.Eval[point](p, "(() => { const r = "+approveButton+".getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()")
	p.Do("fake.end('s1', 'withdrawn')")
	p.WaitFor("document.querySelector('dialog') === null")
	mouse := func(kind input.DispatchMouseEventType) {
		p.Act(chromedp.MouseEvent(kind, at.X, at.Y, chromedp.ButtonLeft, func(e *input.DispatchMouseEventParams) { e.ClickCount = 1 }))
	}
	mouse(input.DispatchMouseEventTypeMousePressed)
	p.arrive("sign()") // and is enabled by now
	mouse(input.DispatchMouseEventTypeMouseReleased)
	p.Do(approveButton + ".click()")
	if got := calls(p, "approve"); len(got) != 0 {
		t.Errorf("a press from before has approved: %v", got)
	}
	p.Tap("Approve")
	p.WaitFor("fake.calls.some((c) => c.name === 'approve')")
}

func TestDeny(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign()")
	p.Tap("Deny") // at once: denying is never inert
	p.says("Denied. Nothing was signed.")
	p.WaitFor("document.querySelector('dialog') === null")
	if len(calls(p, "approve")) != 0 || len(calls(p, "deny")) != 1 {
		t.Errorf("calls: approve %v, deny %v", calls(p, "approve"), calls(p, "deny"))
	}
}

func TestRequestsQueue(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign({computer: 'one'})")
	p.Do("fake.sign({id: 's2', computer: 'two'}); fake.certificate({computer: 'three'})")
	p.Wants("one wants to log in as", "2 more waiting")
	p.Tap("Deny")
	p.Wants("two wants to log in as", "1 more waiting")
	p.WaitFor("document.title === '(2) vmux'")
	p.Do("fake.end('s2', 'withdrawn', 'Another phone has answered.')")
	p.Wants("Another phone has answered.")
	p.Wants("three asks for a", "Session certificate")
	p.Do("fake.end('c1', 'expired')")
	p.says("Too late: the request has expired.")
	p.WaitFor("document.querySelector('dialog') === null && document.title === 'vmux'")
}

// A request can wait while the person looks something up; it is not forgotten.
func TestRequestPutAside(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	p.Act(chromedp.KeyEvent(kb.Escape))
	p.Wants("1 request waiting")
	p.Tap("Identities")
	p.Wants("1 request waiting")
	p.Tap("Show")
	p.Wants("wants to log in as")
	p.Tap("Decide later")
	p.Do("fake.sign({id: 's2'})") // a new one brings them back
	p.Wants("wants to log in as", "1 more waiting")
	if got := len(calls(p, "deny")) + len(calls(p, "approve")); got != 0 {
		t.Errorf("putting aside has answered %d times", got)
	}
}

func TestRequestExpires(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign({expires: Date.now() + 1500})")
	p.WaitFor("document.querySelector('.ring.hurry') !== null")
	p.WaitFor("document.querySelector('.ring-number').textContent === '0' && " + approveButton + ".disabled")
	p.says("Too late: the request has expired.") // though the core said nothing
}

func TestRequestFails(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	p.Do("fake.answers.approve = {code: 'cancelled', message: 'The passkey was not used.', hint: 'Try again.'}")
	p.Tap("Approve")
	p.Wants("The passkey was not used. Try again.")
	p.Do("fake.answers.approve = 'hold'")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve")
	p.Wants("Waiting for you to confirm it is you")
	if !browser.Eval[bool](p, approveButton+".disabled") {
		t.Error("Approve can be tapped again while the browser asks")
	}
	p.Do("fake.end('s1', 'approved')")
	p.says("Signed for studio.")
}

func TestCertificateChoices(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.answers.holdDecide = true")
	p.arrive("certificate()")
	p.Tap("1 h")
	p.Wants("Preparing what is to be signed")
	got := calls(p, "decide")
	if len(got) != 1 || fmt.Sprint(got[0]["validitySeconds"], got[0]["principals"]) != "3600 [ada deploy]" {
		t.Fatalf("decide was called with %v", got)
	}
	if !browser.Eval[bool](p, approveButton+".disabled") {
		t.Error("Approve works before the certificate that is shown is the one to be signed")
	}
	p.Do("fake.answers.holdDecide = undefined")
	p.Tap("deploy")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve")
	p.says("Issued for studio.")
	got = calls(p, "approve")
	if len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[principals:[ada] validitySeconds:3600]" {
		t.Errorf("approve was called with %v", got)
	}
}

func TestCertificateWantsAnAccount(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("certificate({principals: ['ada'], choices: ['ada'], automatic: true})")
	p.Wants("The computer asks by itself")
	p.Tap("ada")
	p.Wants("Choose at least one account.")
	if !browser.Eval[bool](p, approveButton+".disabled") || len(calls(p, "decide")) != 0 {
		t.Error("a certificate for nobody can be approved")
	}
}

// A server with another host key is a warning that takes an act of its own.
func TestWarningIsAcknowledged(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign({mustAcknowledge: true, acknowledgement: 'I know why the host key is another one.', lines: [{name: 'warning', value: 'web-1 had another host key', quality: 'verified', warning: true}]})")
	p.Wants("web-1 had another host key", "tick the box first")
	p.Do("await new Promise((r) => setTimeout(r, 700)); " + approveButton + ".click()")
	if !browser.Eval[bool](p, approveButton+".disabled") || len(calls(p, "approve")) != 0 {
		t.Error("Approve works before the warning is acknowledged")
	}
	p.Tap("I know why the host key is another one.")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve")
	p.says("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[acknowledged:true]" {
		t.Errorf("approve was called with %v", got)
	}
}

// A screen reader hears of a request, and the focus is on what is asked.
func TestRequestIsAnnounced(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign()")
	p.WaitFor("document.querySelector('#live').textContent.includes('studio wants to log in as deploy@web-1.example.org')")
	p.WaitFor("document.activeElement.matches('dialog.request h2')")
	for range 12 {
		p.Act(chromedp.KeyEvent(kb.Tab))
		if !browser.Eval[bool](p, "document.activeElement === document.body || document.activeElement.closest('dialog.request') !== null") {
			t.Fatalf("the focus has left the sheet: %s", browser.Eval[string](p, "document.activeElement.outerHTML.slice(0, 200)"))
		}
	}
	if d := browser.Eval[float64](p, "Number(document.querySelector('.ring-number').textContent)"); d < 30 || d > 52 {
		t.Errorf("%v seconds left, want about 50", d)
	}
}

// What others chose is text, whatever it looks like.
func TestHostileText(t *testing.T) {
	const evil = "<img src=x onerror=alert(1)><b>bold</b>\u202Egnp.exe\u2066\x1b[31m\x07\u200Bend"
	p := open(t, startHub(t), view{})
	p.Do(`const evil = ` + browser.Quoted(evil) + `; const f = fake.full();
		fake.set({deviceName: evil, hub: {url: evil, connected: false, error: evil}, rpID: evil,
			grants: {enabled: true, list: [{id: 'g', label: evil, computer: evil, what: evil, since: 0, until: Date.now() + 1e6}]},
			pauses: [{computerID: f.computers[0].id, computer: evil, program: evil, until: Date.now() + 1e6}],
			computers: f.computers.map((c) => ({...c, name: evil, lastError: evil, opensshVersion: evil})),
			identities: f.identities.map((i) => ({...i, label: evil, warning: evil, principals: [evil], algorithm: evil,
				rules: {hosts: [evil], users: [evil], namespaces: [evil], forbid: [evil], hours: evil}})),
			certificates: f.certificates.map((c) => ({...c, computer: evil, identity: evil, principals: [evil]})),
			ca: {...f.ca, policy: {...f.ca.policy, principals: [evil], extensions: [evil], sourceAddress: [evil], forceCommand: evil}}});
		fake.answers.hosts = [{fingerprint: evil, names: [evil], users: [evil], firstSeen: 1, lastSeen: 1}];
		fake.answers.activity = ['approved', evil].map((decision, i) => ({time: new Date().toISOString(), kind: 'sign', requestID: 'r' + i,
			deviceID: evil, deviceName: evil, label: evil, key: evil, what: evil, message: evil, decision, principals: [evil], serial: evil,
			lines: [{name: evil, value: evil, quality: 'claimed'}]}))`)
	for _, s := range []string{"home", "identities", passkey, "ca", "activity", "settings", "hosts"} {
		p.Screen(s)
		p.checkHarmless(s)
	}
	p.Do("const evil = " + browser.Quoted(evil) + "; fake.sign({computer: evil, label: evil, title: evil, lines: [{name: evil, value: evil, quality: 'claimed'}]}); fake.end('none', evil, evil)")
	p.WaitFor("document.querySelector('dialog.request')")
	p.checkHarmless("sign sheet")
	p.Do("const evil = " + browser.Quoted(evil) + "; fake.certificate({computer: evil, label: evil, principals: [evil], choices: [evil]}); fake.end('s1', 'failed', evil)")
	p.Wants("asks for a")
	p.checkHarmless("certificate sheet")
}

func (p *tab) checkHarmless(where string) {
	p.t.Helper()
	p.WaitFor("document.body.innerText.includes('<b>bold</b>')")
	if n := browser.Eval[int](p, "document.querySelectorAll('img[src=x], b').length"); n != 0 {
		p.t.Errorf("%s: text became %d elements", where, n)
	}
	shown := browser.Eval[string](p, "document.body.textContent + Array.from(document.querySelectorAll('*'), (e) => e.getAttribute('aria-label') ?? '').join()")
	if strings.ContainsAny(shown, "\u202E\u2066\x1b\x07\u200B") {
		p.t.Errorf("%s: what moves or hides text is shown as it came", where)
	}
	naked := browser.Eval[[]string](p, `Array.from(document.querySelectorAll('main *, dialog *, header *')).filter((e) =>
		Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.includes('gnp.exe')) && !e.closest('bdi, code, .mono, .unseen')).map((e) => e.outerHTML.slice(0, 160))`)
	for _, n := range naked {
		p.t.Errorf("%s: text of others is not isolated: %s", where, n)
	}
}
