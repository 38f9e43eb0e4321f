package webui

import (
	"strings"
	"testing"

	"vmux/test/browser"
)

// long is as long as a name of another device or a host can be.
var long = strings.Repeat("very-long-name-", 17)

// A link may have anything after its #: the app starts all the same.
func TestHostileAddress(t *testing.T) {
	h := startHub(t)
	for _, path := range []string{"#%", "#identity=%E0%A4%A", "#__proto__", "#constructor=", "?s=1#" + strings.Repeat("a", 5000)} {
		p := open(t, h, view{path: path})
		p.WaitFor("document.documentElement.dataset.ready === 'true'")
		p.Wants("Computers")
		p.Do("location.hash = '%'") // also while it runs
		p.Screen("identities")
	}
}

// A computer with endless names cannot push away what is to be read or pressed:
// it would hold the phone with a sheet that nobody can answer or put aside.
func TestLongNamesLeaveRoom(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("globalThis.long = " + browser.Quoted(long) + "; globalThis.of = {computer: long, label: long, title: 'root@' + long, choices: [long], principals: [long]}")
	for _, call := range []string{"sign(of)", "certificate({...of, automatic: true})"} {
		p.Do("fake." + call)
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
				t.Errorf("%s, %d wide: out of sight %v, %d pixels are left to read in", call, v.width, out, body)
			}
		}
		p.look(view{})
		p.Tap("Deny")
		p.WaitFor("document.querySelector('dialog') === null")
	}
	// The longest title that there is, of letters as wide as there are, is there to its end.
	p.Do("fake.sign({id: 'w', title: 'W'.repeat(32) + '…@' + 'W'.repeat(64) + '… (claimed)'})")
	p.WaitFor("document.querySelector('dialog.request h2')")
	if !browser.Eval[bool](p, "(() => { const h = document.querySelector('dialog.request h2'); return h.scrollHeight <= h.clientHeight + 2; })()") {
		t.Error("the end of the title is cut off")
	}
	p.Tap("Deny")
	p.WaitFor("document.querySelector('dialog') === null")
	p.Do("fake.answers.previewInvitation = {name: long, id: fake.full().computers[0].id, hubURL: ''}")
	p.Screen("pair")
	p.Fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.settle()
	p.WaitFor("document.querySelector('dialog dd.mono').getBoundingClientRect().bottom < innerHeight - 100") // the ID to be compared
}

// A purpose of signatures may look like a login; it is not said to be one.
func TestSignatureIsNoLogin(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign({title: 'root@prod.example.org signature', lines: [{name: 'purpose', value: 'root@prod.example.org', quality: 'verified'}]})")
	p.Wants("studio wants you to sign root@prod.example.org signature")
	p.WaitFor("document.querySelector('#live').textContent === 'studio wants you to sign root@prod.example.org signature'")
}

// Each warning says what it means, and no other.
func TestWarningsAreExplained(t *testing.T) {
	p := open(t, startHub(t), view{})
	const elsewhere = "or the computer logs in elsewhere"
	const anew, compare = "Either the server was set up anew", "Compare the host key below with the one that the server itself shows."
	warning := "mustAcknowledge: true, acknowledgement: 'I have.', lines: [{name: 'warning', value: 'w', quality: 'verified', warning: true}]})"
	for _, c := range []struct{ sheet, says, hides string }{
		{"fake.sign({id: 'a', hostChanged: true, " + warning, anew, compare}, {"fake.sign({id: 'b', " + warning, compare, anew},
		{"fake.sign({id: 'c', downgraded: true, " + warning, elsewhere, compare},
	} {
		p.Do(c.sheet)
		p.Wants(c.says)
		p.Lacks(c.hides)
		p.Tap("Deny")
		p.WaitFor("document.querySelector('dialog') === null")
	}
}

// What went wrong after an approval stays to be read, and goes at a tap.
func TestCauseStaysToBeRead(t *testing.T) {
	const cause = "The phone cannot write its activity log, and signs nothing without it. Is it out of space?"
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	p.Do("fake.end('s1', 'failed', " + browser.Quoted(cause) + ")")
	p.Wants(cause)
	p.Do("await new Promise((r) => setTimeout(r, 3000))")
	p.Wants(cause)
	p.Tap("Close")
	p.WaitFor("document.querySelector('dialog') === null")
	p.arrive("sign({id: 's2'})")
	p.Do("fake.end('s2', 'failed', " + browser.Quoted(cause) + "); fake.certificate()") // others do not wait for the reader
	p.Wants("asks for a Session certificate")
}

// The note of a paused computer is text beside its buttons, not a column of letters.
func TestPausedNoteIsReadable(t *testing.T) {
	p := open(t, startHub(t), view{width: 320, height: 568})
	p.Do("fake.emit('paused', {computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 3e5})")
	p.Wants("old-laptop is paused for some minutes")
	if size := browser.Eval[[]int](p, "(() => { const r = document.querySelector('.note').getBoundingClientRect(); return [document.querySelector('.note-text').clientWidth, Math.ceil(r.height)]; })()"); size[0] < 160 || size[1] > 240 {
		t.Errorf("the text is %d wide, the note %d high", size[0], size[1])
	}
}

// A link can open the question whether to pair under a finger that was on its way
// to something else.
func TestPairIsInertAtFirst(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("location.hash = " + browser.Quoted(invitation))
	p.Wants("Pair with this computer?")
	early := browser.Eval[int](p, `(async () => {
		const find = () => Array.from(document.querySelectorAll('dialog .button')).find((b) => b.innerText.trim() === 'Pair');
		document.querySelector('dialog .icon-button').click();
		const began = performance.now(); // before the sheet's own time begins
		location.hash = `+browser.Quoted(invitation)+`;
		while (!find()) {
			await new Promise((r) => setTimeout(r, 5));
		}
		for (; performance.now() - began < 400; await new Promise((r) => setTimeout(r, 20))) {
			find().click();
		}
		return fake.calls.filter((c) => c.name === 'pair').length;
	})()`)
	if early != 0 {
		t.Errorf("paired by an early tap")
	}
	p.Tap("Pair")
	p.says("Paired with studio.")
}

// A computer that asks and withdraws again and again would cover the screen with
// sheets that end before anybody can deny. Its requests wait in the bar then; those
// of others are shown as ever.
func TestAskingAndWithdrawing(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do(`for (let i = 0; i < 5; i++) {
		fake.sign({id: 'w' + i});
		fake.end('w' + i, 'withdrawn');
		await new Promise((r) => setTimeout(r, 1100));
	}`)
	p.WaitFor("document.querySelector('dialog') === null")
	p.Do("fake.sign({id: 'w5'})")
	p.Wants("1 request waiting")
	if browser.Eval[bool](p, "document.querySelector('dialog') !== null") {
		t.Error("its sheet covers the screen once more")
	}
	p.Do("fake.sign({id: 'o', computer: 'other', computerID: 'other'})")
	p.Wants("other wants to log in as", "1 more waiting")
	p.Tap("Deny")
	p.Wants("1 request waiting")
	p.Tap("Show")
	p.Wants("studio wants to log in as")
}

// Without its hub the phone says so, and blames no computer.
func TestOffline(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Wants("Problem")
	p.Do("fake.set({hub: {url: 'https://hub.example.org', connected: false, error: 'failed to dial'}})")
	p.Wants("Offline")
	p.WaitFor("!document.querySelector('main').innerText.includes('Problem')")
	p.Tap("Hub: Offline. Details")
	p.Wants("It does not answer, or this phone does not get through to it.", "failed to dial")
	p.Do("document.querySelector('dialog .icon-button').click(); document.querySelector('[data-key^=computer-yo6]').click()")
	p.Wants("This phone is offline")
	p.Lacks("No answer within 15 s.") // which would blame the computer
	p.Do("document.querySelector('dialog .icon-button').click(); fake.answers.pair = new Promise(() => {})")
	p.Screen("pair")
	p.Fill("Or paste the invitation", "https://hub.example.org/"+invitation)
	p.Tap("Continue")
	p.Tap("Pair")
	p.Wants("Offline: waiting for the hub")
}
