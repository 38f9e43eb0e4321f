package webui

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"vmux/internal/wire"
	"vmux/test/browser"
)

const grantButton = "document.querySelector('[data-key=grant-15]"

// granting is the app of a phone that offers grants for the key deploy, of the vault.
func granting(t *testing.T) (*tab, *computer) {
	t.Helper()
	p := open(t, startHub(t), view{before: browser.QuirkScript(t, "passkey-refusal")})
	p.vaultKey("deploy")
	p.call("enableGrants", map[string]any{"enabled": true})
	return p, p.computer("studio")
}

// byVault is a login by the vault's key.
func byVault(host string) wanted { return wanted{key: "deploy", host: host} }

// An approval grants no more than itself, unless that is chosen in an act of its
// own; and that act is inert at first, too.
func TestGrantIsChosen(t *testing.T) {
	t.Parallel()
	p, studio := granting(t)
	login := studio.asks(byVault("web-1.example.org"))
	p.armed()
	p.Tap("Other answers")
	p.Wants("The like of it: logins as deploy to this server with the key deploy, asked by studio.")
	p.Do(`document.querySelector('dialog:last-of-type .icon-button').click(); // close it, and open it anew
		await new Promise((r) => setTimeout(r, 100));
		const began = performance.now(); // before the sheet's own time begins
		document.querySelector('[data-key=other-answers]').click();
		while (performance.now() - began < 440) {
			for (const key of ['grant-5', 'grant-15', 'grant-60']) {
				const b = document.querySelector('[data-key=' + key + ']');
				b.disabled = false;
				b.click();
			}
			await new Promise((r) => setTimeout(r, 20));
		}`)
	if got := p.calls("tap approve"); len(got) != 0 {
		t.Errorf("approved by early taps: %v", got)
	}
	p.WaitFor("!" + approveButton + ".classList.contains('arming')")
	p.Tap("Approve, and the like for 15 minutes")
	p.says("Signed for studio.")
	login.signed()
	if got := p.calls("tap approve"); len(got) != 1 || got[0]["active"] != true {
		t.Errorf("approve was called with %v", got)
	}
	p.WaitFor(noSheet)
	studio.asks(byVault("web-1.example.org")).signed() // nobody is asked
	for range 2 {
		p.signs(studio.asks(byVault("web-2.example.org")))
	}
	if list := p.core.state().Grants.List; len(list) != 1 || list[0].Until-list[0].Since != 900e3 {
		t.Errorf("after a plain approval: %+v", list)
	}
	// At the third like request within a minute the sheet itself offers the grant.
	login = studio.asks(byVault("web-2.example.org"))
	p.Wants("You have approved 2 like it within a minute.")
	p.WaitFor("document.querySelector('[data-key=\"grant-offered\"]:enabled')")
	p.Tap("Approve, and the like for 15 minutes")
	login.signed()
	if list := p.core.state().Grants.List; len(list) != 2 {
		t.Errorf("granted: %+v", list)
	}
}

// What cannot be granted offers only to mute; a menu does not outlive its request.
func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.issuing("ada")
	first := studio.asks(wanted{})
	p.armed()
	p.Tap("Other answers")
	if browser.Eval[bool](p, grantButton+"') !== null") {
		t.Error("a grant is offered for what cannot be granted")
	}
	first.withdraw()
	p.WaitFor(noSheet)
	second := studio.asks(wanted{})
	p.armed()
	p.Tap("Other answers")
	p.WaitFor("document.querySelector('[data-key=mute]:enabled')")
	p.Wants("Deny, and mute this program for an hour", "ssh ← zsh ← tmux")
	p.Click("[data-key=mute]")
	p.says("Denied. Nothing was signed.")
	second.refused(wire.CodeUserDenied)
	studio.asks(wanted{}).refused(wire.CodeMuted)
	p.WaitFor(noSheet)
	request, _ := studio.asksForCertificate(false)
	p.Wants("Session certificate")
	if browser.Eval[bool](p, "document.querySelector('[data-key=other-answers]') !== null") {
		t.Error("other answers to a certificate")
	}
	request.withdraw()
}

func TestGrantsAreListed(t *testing.T) {
	t.Parallel()
	p, studio := granting(t)
	grant := func(w wanted) {
		t.Helper()
		login := studio.asks(w)
		p.armed()
		p.Tap("Other answers")
		p.WaitFor(grantButton + ":enabled')")
		p.Tap("Approve, and the like for 15 minutes")
		login.signed()
		p.WaitFor(noSheet)
	}
	git := wanted{key: "deploy", purpose: "git"}
	grant(byVault("web-1.example.org"))
	grant(git)
	p.Wants("Approved in advance", "deploy@web-1.example.org", "14 min left")
	// What is over is not listed, also where the core has not said so yet.
	p.Do("const now = Date.now; Date.now = () => now() + globalThis.ahead; globalThis.ahead = 3600e3")
	p.call("setPrincipals", map[string]any{"fingerprint": p.core.identity("deploy").Fingerprint, "principals": []string{"ada"}})
	p.Hides("Approved in advance")
	p.Do("ahead = 0")
	p.call("setPrincipals", map[string]any{"fingerprint": p.core.identity("deploy").Fingerprint, "principals": []string{}})
	p.Tap("End: " + p.core.state().Grants.List[0].What.String())
	p.WaitFor("!document.querySelector('main').innerText.includes('deploy@web-1') && document.querySelector('main').innerText.includes('git signatures')")
	grant(byVault("web-1.example.org"))
	p.Tap("End all")
	p.Hides("Approved in advance")
	grant(git)
	p.Do("dispatchEvent(new Event('pagehide'))") // as when the app is closed
	p.Hides("Approved in advance")
	if list := p.core.state().Grants.List; len(list) != 0 {
		t.Errorf("still granted: %+v", list)
	}
	p.Screen("settings")
	p.Click(`[data-key="switch-Approve in advance"]`)
	waitFor(t, "grants are offered no more", func() bool { return !p.core.state().Grants.Enabled })
}

// After several denials the person hears of the pause, in a note that is text beside its
// buttons and not a column of letters, and can unpair or read what was asked.
func TestPausedComputer(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{width: 320, height: 568})
	for range 3 {
		p.refuses(studio, wanted{})
	}
	p.Wants("studio is paused for some minutes", "Did nobody start them?")
	if size := browser.Eval[[]int](p, "(() => { const r = document.querySelector('.note').getBoundingClientRect(); return [document.querySelector('.note-text').clientWidth, Math.ceil(r.height)]; })()"); size[0] < 160 || size[1] > 240 {
		t.Errorf("the text is %d wide, the note %d high", size[0], size[1])
	}
	p.Tap("Unpair")
	p.Wants("Unpair this computer?")
	p.Tap("Cancel")
	p.WaitFor(noSheet)
	studio.asks(wanted{}).refused(wire.CodePaused)
	p.Click("[data-key^=computer-]")
	p.Wants("Its requests are refused without asking you", "4 min left", "3 denied, 1 refused", "deploy@web-1.example.org", "by ssh ← zsh ← tmux · 4 times", "Save a report")
	p.Tap("Let it ask again")
	p.WaitFor(noSheet)
	p.Hides("Paused")
	p.signs(studio.asks(wanted{}))
}

func TestAllowedUses(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	host := "SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE"
	p.shows("work")
	p.Tap("Everything You are asked each time. Tap to limit it.")
	p.Fill("Servers", "web-1.example.org "+host)
	p.Tap("allow logins that do not name the host key (OpenSSH before 8.9)")
	p.Fill("Accounts", "deploy, ada")
	p.Fill("Sudo", "web-1.example.org")
	p.Tap("use through another server")
	p.Fill("Hours", "9 to 5")
	p.Tap("Save")
	p.Wants("08:00-18:00")
	p.WaitFor("document.querySelector('dialog .note.bad') !== null")
	p.Fill("Hours", "Mon-Fri 08:00-18:00")
	p.Tap("Save")
	p.Wants("This holds from now on.", "Also where a login does not name the server: old servers", "Only as deploy, ada", "Sudo only on web-1.example.org", "Never for use through another server", "Only at mon-fri 08:00-18:00", "No request has been refused yet.")
	rules := fmt.Sprintf("%+v", *p.core.identity("work").Rules)
	for _, want := range []string{"Forbid:[forwarded]", "Hosts:[web-1.example.org " + host + "]", "Hours:mon-fri 08:00-18:00", "OldServers:true", "Users:[deploy ada]", "Sudo:[web-1.example.org]"} {
		if !strings.Contains(rules, want) {
			t.Errorf("the rules are %s, want %s", rules, want)
		}
	}
	studio.asks(wanted{user: "root"}).refused(wire.CodePolicyDenied)
	p.Screen("home")
	p.shows("work")
	p.Wants("1 request refused so far")
	p.Do("document.querySelector('[data-key=rules]').click()")
	p.Tap("Allow everything")
	p.Wants("Every use is allowed again")
	if rules := p.core.identity("work").Rules; rules != nil && !reflect.ValueOf(*rules).IsZero() {
		t.Errorf("the rules are %+v", rules)
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.signs(studio.asks(wanted{}))
	p.signs(studio.asks(wanted{user: "ada"}))
	p.signs(studio.asks(wanted{host: nameless, answers: "another"}))
	p.Screen("settings")
	p.Tap("Servers this phone remembers")
	p.Wants("web-1.example.org", "deploy", "ada", "Without a name")
	p.Do("Array.from(document.querySelectorAll('[data-key^=host-]')).find((row) => row.innerText.includes('web-1')).click()")
	p.Wants("Names, as computers call it", "web-1.example.org")
	p.Tap("Forget")
	p.Wants("Forget this server?")
	p.Tap("Forget")
	p.says("web-1.example.org is forgotten.")
	p.WaitFor("document.querySelectorAll('[data-key^=host-]').length === 1")
}

// saved notes what the page gives the person as files.
const saved = `globalThis.saved = [];
	const make = URL.createObjectURL;
	URL.createObjectURL = (blob) => { saved.push({blob}); return make.call(URL, blob); };
	HTMLAnchorElement.prototype.click = function () { saved.at(-1).name = this.download; };`

func TestRevoke(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{before: saved})
	p.issuing("ada")
	request, cert := studio.asksForCertificate(false)
	p.signs(request)
	p.Click("[data-key^=certificate-]")
	p.Wants(fmt.Sprint(cert.Serial))
	p.Tap("Revoke")
	p.Wants("Revoke this certificate?", "servers refuse it once they have the revocation list")
	p.Tap("Cancel")
	if p.core.state().Certificates[0].RevokedAt != 0 {
		t.Error("revoked without confirmation")
	}
	first, second := studio.asks(wanted{}), studio.asks(wanted{})
	p.Wants("1 more waiting")
	first.withdraw()
	second.withdraw() // which leaves a note
	p.WaitFor(noSheet + " && document.querySelector('#notes > .note')")
	p.Do("document.querySelector('[data-key^=certificate-]').click()")
	p.Tap("Revoke")
	p.Wants("Revoke this certificate?")
	p.Tap("Revoke")
	p.Wants("Give your servers the new revocation list.", "Revoked") // and not what was said before
	if p.core.state().Certificates[0].RevokedAt == 0 {
		t.Error("not revoked")
	}
	p.Screen("ca")
	p.Wants("RevokedKeys /etc/ssh/vmux_revoked.krl")
	p.Do("document.querySelector('[data-key=revocation-list]').click()")
	p.WaitFor("saved[0]?.name === 'vmux_revoked.krl'")
	if got := browser.Eval[string](p, "saved[0].blob.text()"); !strings.HasPrefix(got, "SSHKRL\n\x00") {
		t.Errorf("the list is %q", got)
	}
}

// What was asked and changed is found again, checked and given away.
func TestActivity(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{before: saved})
	p.issuing("ada")
	request, cert := studio.asksForCertificate(false)
	p.signs(request)
	p.signs(studio.asks(wanted{}))
	p.refuses(studio, wanted{purpose: "git"})
	p.call("setRules", map[string]any{"fingerprint": p.core.identity("work").Fingerprint, "rules": map[string]any{"users": []string{"deploy"}}})
	for range 4 { // those of one minute are one line
		studio.asks(wanted{user: "root"}).refused(wire.CodePolicyDenied)
	}
	p.Screen("activity")
	p.Wants("deploy@web-1.example.org", "Today", "Computer paired", "Key created", "CA created", "What a key may do was changed", " times")
	p.Do("document.querySelector('[data-key=outcome-denied]').click()")
	p.WaitFor("document.querySelectorAll('.log li').length === 1 && document.querySelector('.log').innerText.includes('Denied')")
	p.Do("document.querySelector('[data-key=\"outcome-\"]').click(); document.querySelector('[data-key=search]').focus()")
	p.Act(chromedp.KeyEvent("git tmux")) // which stands in a line of the sheet only
	p.WaitFor("document.querySelectorAll('.log li').length === 1 && document.querySelector('.log').innerText.includes('Git signature')")
	p.Act(chromedp.KeyEvent(" nothing"))
	p.Wants("Nothing found")
	p.Do("document.querySelector('[data-key=search]').value = ''; document.querySelector('[data-key=search]').dispatchEvent(new Event('input'))")
	p.Do("Array.from(document.querySelectorAll('.log summary')).find((s) => s.innerText.includes('Session certificate')).click()")
	p.Wants(fmt.Sprint(cert.Serial), "Valid until")
	p.Do("Array.from(document.querySelectorAll('.log summary')).find((s) => s.innerText.includes('deploy@web-1')).click()")
	p.Wants("ssh ← zsh ← tmux (said by the computer)", "Host key")
	p.Do("document.querySelector('[data-key$=-merged]').click()")
	p.Wants(" times, until ", "root@web-1.example.org by ssh ← zsh ← tmux (", "policy of work: ")
	p.Do("document.querySelector('[data-key=outcome-change]').click()")
	p.WaitFor("Array.from(document.querySelectorAll('.log li')).every((e) => /created|paired|changed/.test(e.innerText))")

	p.Tap("Check the log")
	p.Wants("The log is whole", "records follows from the one before.")
	p.Tap("Close")
	p.Tap("Export")
	p.WaitFor("saved[0]?.name === 'vmux-activity.jsonl'")
	if got := browser.Eval[string](p, "saved[0].blob.text()"); !strings.Contains(got, `"decision":"denied"`) {
		t.Errorf("exported %q", got)
	}
	log, err := p.core.store.Get("activity.jsonl")
	if changed := bytes.Replace(log, []byte("denied"), []byte("kenied"), 1); err != nil || bytes.Equal(changed, log) || p.core.store.Put("activity.jsonl", changed) != nil {
		t.Fatalf("the log %s cannot be damaged: %v", log, err)
	}
	p.Tap("Check the log")
	p.Wants("The log was changed, or is damaged")
}

// What waits together for one key of the vault is one sheet; what joined counts
// only once it has been listed for a while.
func TestAnsweredTogether(t *testing.T) {
	t.Parallel()
	p, studio := granting(t)
	p.passkey("work")
	tower := p.computer("tower")
	p.signs(studio.asks(byVault("web-9.example.org")))
	first := studio.asks(byVault("web-1.example.org"))
	p.armed()
	p.Do(`globalThis.joined = new Promise((done) => {
		new MutationObserver(() => document.querySelector('dialog.request .group').innerText.includes('with the same tap') && done(` + approveButton + `.disabled))
			.observe(document.querySelector('dialog.request .sheet-body'), { childList: true, subtree: true });
	})`)
	second := studio.asks(byVault("web-2.example.org"))
	if !browser.Eval[bool](p, "joined") {
		t.Error("Approve works at once after another request has joined")
	}
	p.Wants("And 1 more request, with the same tap", "deploy@web-2.example.org", "Approve 2")
	warned := studio.asks(wanted{key: "deploy", host: "web-9.example.org", answers: "another"})
	p.Wants("1 more waiting") // the order is the one in which they come
	passkey, other := studio.asks(wanted{}), tower.asks(byVault("web-1.example.org"))
	p.Wants("3 more waiting")
	p.Do("globalThis.passkeyRefusal = {name: 'NotAllowedError'}")
	p.armed()
	p.Tap("Approve 2")
	p.Wants("The passkey was not used.")
	p.Do("globalThis.passkeyRefusal = null")
	p.armed()
	p.Tap("Approve 2")
	p.says("Signed for studio.")
	first.signed()
	second.signed()
	p.Wants("tick the box first") // it stands alone
	p.Tap("Deny")
	warned.refused(wire.CodeUserDenied)
	p.Wants("1 more waiting")
	passkey.withdraw()
	other.withdraw()
	p.WaitFor(noSheet)

	grant := studio.asks(byVault("web-5.example.org"))
	p.armed()
	joins := studio.asks(byVault("web-6.example.org"))
	p.Wants("Approve 2")
	p.Tap("Other answers")
	p.WaitFor(grantButton + ":enabled')")
	p.Tap("Approve, and the like for 5 minutes") // of this one alone
	grant.signed()
	p.WaitFor("document.querySelector('dialog.request:not(.ended)')")
	p.Tap("Deny")
	joins.refused(wire.CodeUserDenied)
}
