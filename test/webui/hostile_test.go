package webui

import (
	"strings"
	"testing"

	"vmux/internal/wire"
	"vmux/test/browser"
)

// A link may have anything after its #: the app starts all the same.
func TestHostileAddress(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	for _, path := range []string{"#%", "#identity=%E0%A4%A", "#__proto__", "#constructor=", "?s=1#" + strings.Repeat("a", 5000)} {
		p.Go("about:blank")
		p.Go(p.hub.URL + "/" + path)
		p.WaitFor("document.documentElement.dataset.ready === 'true'")
		p.Wants("How to begin")
		p.Do("location.hash = '%'") // also while it runs
		p.Screen("identities")
	}
}

// A computer with endless names cannot push away what is to be read or pressed: it would
// hold the phone with a sheet that nobody can answer or put aside. Here all names are as
// long as there are.
func TestLongNamesLeaveRoom(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("very-long-name-", 17)
	p := open(t, startHub(t), view{})
	p.passkey(long)
	p.issuing(long[:64])
	computer := p.computer(long)
	for _, ask := range []func() *asked{
		func() *asked { return computer.asks(wanted{key: long, user: "root", host: long}) },
		// Of letters as wide as there are.
		func() *asked {
			return computer.asks(wanted{key: long, user: strings.Repeat("W", 40), host: strings.Repeat("W", 80)})
		},
		func() *asked { request, _ := computer.asksForCertificate(true); return request },
	} {
		request := ask()
		p.WaitFor("document.querySelector('dialog.request')")
		for _, v := range []view{{}, {width: 320, height: 568}, {width: 667, height: 375}} {
			p.look(v)
			p.settle()
			out := browser.Eval[[]string](p, `['[data-key=deny]', '[data-key=approve]', '.ring', '.icon-button', 'h2'].filter((s) => {
				const r = document.querySelector('dialog.request ' + s).getBoundingClientRect();
				return r.top < 0 || r.bottom > innerHeight || r.left < 0 || r.right > innerWidth;
			})`)
			body := browser.Eval[int](p, "document.querySelector('dialog.request .sheet-body').clientHeight")
			if len(out) > 0 || body < 40 {
				t.Errorf("%s, %d wide: out of sight %v, %d pixels are left to read in", p.Text(), v.width, out, body)
			}
		}
		p.look(view{})
		if !browser.Eval[bool](p, "(() => { const h = document.querySelector('dialog.request h2'); return h.scrollHeight <= h.clientHeight + 2; })()") {
			t.Errorf("the end of the title is cut off: %s", p.Text())
		}
		request.withdraw()
		p.WaitFor(noSheet)
	}
	p.Do("location.hash = " + browser.Quoted(fragment(p.core.computer(strings.Repeat("other-long-name-", 15)).invites())))
	p.Wants("Pair with this computer?")
	p.settle()
	p.WaitFor("document.querySelector('dialog dd.mono').getBoundingClientRect().bottom < innerHeight - 100") // the ID to be compared
}

// A warning says what it means, and no other, and takes an act of its own.
func TestWarnings(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.signs(studio.asks(wanted{}))
	const anew, compare = "Either the server was set up anew", "Compare the host key below with the one that the server itself shows."
	for _, c := range []struct {
		asks                       wanted
		says, means, hides, agrees string
	}{
		{wanted{answers: "another"}, "web-1.example.org had another host key: SHA256:", anew, compare, "I know why the host key is another one."},
		{wanted{host: "web-l.example.org"}, "looks like web-1.example.org", compare, anew, "I know both names, and why their host keys differ."},
		{wanted{unnamed: true}, "earlier logins to this server named it", "or the computer logs in elsewhere", compare, "I know why this login does not name the server."},
	} {
		request := studio.asks(c.asks)
		p.Wants(c.says, c.means, "tick the box first")
		p.Lacks(c.hides)
		before := len(p.calls("tap approve"))
		p.Do("await new Promise((r) => setTimeout(r, 700)); " + approveButton + ".click()")
		if !browser.Eval[bool](p, approveButton+".disabled") || len(p.calls("tap approve")) != before {
			t.Error("Approve works before the warning is acknowledged")
		}
		p.Tap(c.agrees)
		p.signs(request)
	}
}

// What went wrong after an approval stays to be read, and goes at a tap.
func TestCauseStaysToBeRead(t *testing.T) {
	t.Parallel()
	const cause = "The phone cannot write its activity log, and signs nothing without it. Is it out of space?"
	p, studio := paired(t, view{})
	p.issuing("ada")
	p.core.store.full.Store(true)
	fails := func() {
		login := studio.asks(wanted{})
		p.armed()
		p.Tap("Approve")
		login.refused(wire.CodeInternalError)
		p.Wants(cause)
	}
	fails()
	p.Do("await new Promise((r) => setTimeout(r, 3000))")
	p.Wants(cause)
	p.Tap("Close")
	p.WaitFor(noSheet)
	fails()
	request, _ := studio.asksForCertificate(false) // others do not wait for the reader
	p.Wants("asks for a Session certificate")
	request.withdraw()
}

// A link can open the question whether to pair under a finger that was on its way
// to something else.
func TestPairIsInertAtFirst(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	invitation := browser.Quoted(fragment(p.core.computer("studio").invites()))
	p.Do("location.hash = " + invitation)
	p.Wants("Pair with this computer?")
	p.Do(`const find = () => Array.from(document.querySelectorAll('dialog .button')).find((b) => b.innerText.trim() === 'Pair');
		document.querySelector('dialog .icon-button').click();
		while (find()) {
			await new Promise((r) => setTimeout(r, 5));
		}
		const began = performance.now(); // before the sheet's own time begins
		location.hash = ` + invitation + `;
		while (!find()) {
			await new Promise((r) => setTimeout(r, 5));
		}
		for (; performance.now() - began < 400; await new Promise((r) => setTimeout(r, 20))) {
			find()?.click();
		}`)
	if len(p.calls("pair")) != 0 {
		t.Errorf("paired by an early tap")
	}
	p.Tap("Pair")
	p.says("Paired with studio.")
}

// A computer that asks and withdraws again and again would cover the screen with
// sheets that end before anybody can deny. Its requests wait in the bar then; those
// of others are shown as ever.
func TestAskingAndWithdrawing(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	tower := p.computer("tower")
	for range 5 {
		request := studio.asks(wanted{})
		p.WaitFor("document.querySelector('dialog.request:not(.ended)')")
		request.withdraw()
		p.WaitFor(noSheet) // after more than a second, in which all would be one
	}
	request := studio.asks(wanted{})
	defer request.withdraw()
	p.Wants("1 request waiting")
	if browser.Eval[bool](p, "document.querySelector('dialog') !== null") {
		t.Error("its sheet covers the screen once more")
	}
	other := tower.asks(wanted{})
	p.Wants("tower wants to log in as", "1 more waiting")
	p.Tap("Deny")
	other.refused(wire.CodeUserDenied)
	p.Wants("1 request waiting")
	p.Tap("Show")
	p.Wants("studio wants to log in as")
}

// Without its hub the phone says so, and blames no computer.
func TestOffline(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	invitation := p.core.computer("tower").invites()
	studio.stop()
	p.Wants("Problem")
	p.core.offline()
	p.Wants("Offline")
	p.Hides("Problem")
	p.Tap("Hub: Offline. Details")
	p.Wants("It does not answer, or this phone does not get through to it.")
	p.WaitFor("/refused|EOF/.test(document.querySelector('dialog').innerText)")
	p.Tap("Close")
	p.Click("[data-key^=computer-]")
	p.Wants("This phone is offline")
	p.Lacks("The last problem") // which would blame the computer
	p.Tap("Close")
	p.Screen("pair")
	p.Fill("Or paste the invitation", invitation)
	p.Tap("Continue")
	p.Tap("Pair")
	p.Wants("Offline: waiting for the hub")
}

// What others chose is text, whatever it looks like, even if the core let it pass.
func TestHostileText(t *testing.T) {
	t.Parallel()
	const evil = "<img src=x onerror=alert(1)><b>bold</b>\u202Egnp.exe\u2066\x1b[31m\x07\u200Bend"
	p := open(t, startPictures(t), view{})
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
