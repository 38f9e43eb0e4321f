package webui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const (
	grantable   = "sign({grantable: true, label: 'deploy', keyKind: 'vault', fingerprint: fake.full().identities[1].fingerprint})"
	grantButton = "document.querySelector('[data-key=grant-15]"
	// granted is Home while a key may be used without asking.
	granted = `fake.set({grants: {enabled: true, list: [
			{id: 'g1', label: 'deploy', computer: 'studio', what: 'deploy@web-1.example.org', since: Date.now() - 120000, until: Date.now() + 800000},
			{id: 'g2', label: 'deploy', computer: 'studio', what: 'git signatures', since: Date.now(), until: Date.now() + 3600000}]},
		pauses: [{computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 240000}]})`
)

// An approval grants no more than itself, unless that is chosen in an act of its
// own; and that act is inert at first, too.
func TestGrantIsChosen(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive(grantable)
	p.tap("Other answers")
	p.wants("The like of it: logins as deploy to this server with the key deploy, asked by studio.")
	early := eval[int](p, `(async () => {
		document.querySelector('dialog:last-of-type .icon-button').click(); // close it, and open it anew
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
		}
		return fake.calls.filter((c) => c.name === 'approve').length;
	})()`)
	if early != 0 {
		t.Errorf("approved so often by early taps: %d", early)
	}
	p.waitFor("!" + approveButton + ".classList.contains('arming')")
	p.tap("Approve, and the like for 15 minutes")
	p.says("Signed for studio.")
	got := calls(p, "approve")
	if len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[grantSeconds:900]" || got[0]["active"] != true {
		t.Errorf("approve was called with %v", got)
	}
	p.waitFor("document.querySelector('dialog') === null")
	p.arrive(grantable)
	p.tap("Approve")
	p.says("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 2 || fmt.Sprint(got[1]["decision"]) != "map[]" {
		t.Errorf("a plain approval was called with %v", got)
	}
}

// What cannot be granted offers only to mute; a menu does not outlive its request.
func TestOtherAnswers(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	p.tap("Other answers")
	if eval[bool](p, grantButton+"') !== null") {
		t.Error("a grant is offered for what cannot be granted")
	}
	p.do("fake.sign({title: 'root@web-2.example.org'})") // another request now
	p.waitFor("document.querySelectorAll('dialog').length === 1")
	p.tap("Other answers")
	p.do("fake.end('s1', 'withdrawn')")
	p.waitFor("document.querySelector('dialog') === null")

	p.arrive("sign({id: 's2'})")
	p.tap("Other answers")
	p.waitFor("document.querySelector('[data-key=mute]:enabled')")
	p.wants("Deny, and mute this program for an hour", "ssh ← zsh ← tmux")
	p.do("document.querySelector('[data-key=mute]').click()")
	p.says("Denied. Nothing was signed.")
	if got := calls(p, "deny"); len(got) != 1 || got[0]["mute"] != true {
		t.Errorf("deny was called with %v", got)
	}
	p.waitFor("document.querySelector('dialog') === null")
	p.do("fake.certificate()")
	p.wants("Session certificate")
	if eval[bool](p, "document.querySelector('[data-key=other-answers]') !== null") {
		t.Error("other answers to a certificate")
	}
}

func TestGrantsAreListed(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.do(granted)
	p.wants("Approved in advance", "deploy@web-1.example.org", "13 min left")
	p.tap("End: deploy@web-1.example.org")
	p.waitFor("!document.querySelector('main').innerText.includes('deploy@web-1') && document.querySelector('main').innerText.includes('git signatures')")
	p.do("fake.set({grants: {enabled: true, list: [{id: 'g3', label: 'deploy', computer: 'studio', what: 'over', since: 0, until: Date.now() - 1}]}})")
	p.waitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	p.do(granted)
	p.tap("End all")
	p.waitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	if got := calls(p, "endGrant"); len(got) != 2 || got[0]["id"] != "g1" || got[1]["id"] != "" {
		t.Errorf("endGrant was called with %v", got)
	}
	p.screen("settings")
	p.do("document.querySelector('[data-key=\"switch-Approve in advance\"]').click()")
	p.waitFor("fake.calls.some((c) => c.name === 'enableGrants' && c.args.enabled === false)")
}

// After several denials the person hears of the pause, can unpair at once, and
// reads and keeps what was asked.
func TestPausedComputer(t *testing.T) {
	p := open(t, startHub(t), view{before: saved})
	p.do(granted + "; fake.emit('paused', fake.full() && {computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 3e5})")
	p.wants("old-laptop is paused for some minutes", "Did nobody start them?")
	p.tap("Unpair")
	p.wants("Unpair this computer?")
	p.tap("Cancel")
	p.do("fake.emit('paused', {computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 3e5})")
	p.tap("What it asked")
	p.wants("3 denied, 2 refused", "root@web-1.example.org", "by ssh ← python3 · 4 times", "git commit signature")
	p.tap("Save a report")
	p.waitFor("saved[0]?.name === 'vmux-report.jsonl'")
	if got := eval[string](p, "saved[0].blob.text()"); got != "{\"decision\":\"denied\"}\n" {
		t.Errorf("the report is %q", got)
	}
	p.tap("Unpair")
	p.wants("Unpair this computer?")
	p.tap("Cancel")
	p.do("document.querySelector('[data-key^=computer-yo6]').click()")
	p.wants("Its requests are refused without asking you", "3 min left", "Save a report")
	p.tap("Let it ask again")
	p.waitFor("document.querySelector('dialog') === null && !document.querySelector('main').innerText.includes('Paused')")
}

func TestAllowedUses(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.screen(vaultKey)
	p.tap("Everything You are asked each time. Tap to limit it.")
	p.fill("Servers", "web-1.example.org SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE")
	p.tap("allow logins that do not name the host key (OpenSSH before 8.9)")
	p.fill("Accounts", "deploy, ada")
	p.tap("use through another server")
	p.fill("Hours", "9 to 5")
	p.do("fake.answers.setRules = {code: 'invalid', message: 'not hours such as 08:00-18:00'}")
	p.tap("Save")
	p.wants("not hours such as 08:00-18:00")
	p.do("delete fake.answers.setRules")
	p.fill("Hours", "Mon-Fri 08:00-18:00")
	p.tap("Save")
	p.wants("This holds from now on.", "Also where a login does not name the server: old servers", "Only as deploy, ada", "Never for use through another server", "Only at mon-fri 08:00-18:00", "3 requests refused so far")
	rules := fmt.Sprint(calls(p, "setRules")[1]["rules"])
	for _, want := range []string{"forbid:[forwarded]", "hosts:[web-1.example.org SHA256:", "hours:mon-fri 08:00-18:00", "namespaces:[]", "oldServers:true", "users:[deploy ada]"} {
		if !strings.Contains(rules, want) {
			t.Errorf("the rules are %s, want %s", rules, want)
		}
	}
	p.do("document.querySelector('[data-key=rules]').click()")
	p.tap("Allow everything")
	p.wants("Every use is allowed again")
	if got := calls(p, "setRules"); len(got) != 3 || fmt.Sprint(got[2]["rules"]) != "map[]" {
		t.Errorf("setRules was called with %v", got)
	}
}

func TestServers(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.screen("settings")
	p.tap("Servers this phone remembers")
	p.wants("web-1.example.org", "as deploy, ada", "Without a name")
	p.do("document.querySelector('[data-key^=\"host-SHA256:mVP\"]').click()")
	p.wants("web-1.example.org, web-1")
	p.tap("Forget")
	p.wants("Forget this server?")
	p.do("fake.answers.hosts = []")
	p.tap("Forget")
	p.says("web-1.example.org is forgotten.")
	p.wants("None yet")
	if got := calls(p, "forgetHost"); len(got) != 1 || got[0]["fingerprint"] != "SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE" {
		t.Errorf("forgetHost was called with %v", got)
	}
}

// saved notes what the page gives the person as files.
const saved = `globalThis.saved = [];
	const make = URL.createObjectURL;
	URL.createObjectURL = (blob) => { saved.push({blob}); return make.call(URL, blob); };
	HTMLAnchorElement.prototype.click = function () { saved.at(-1).name = this.download; };`

func TestRevoke(t *testing.T) {
	p := open(t, startHub(t), view{before: saved})
	p.do("document.querySelector('[data-key^=certificate-]').click()")
	p.wants("12073184629913371842")
	p.tap("Revoke")
	p.wants("Revoke this certificate?", "servers refuse it once they have the revocation list")
	p.tap("Cancel")
	if len(calls(p, "revoke")) != 0 {
		t.Error("revoked without confirmation")
	}
	p.do("fake.sign(); fake.end('s1', 'withdrawn'); fake.sign({id: 's2'}); fake.end('s2', 'withdrawn')") // leaves a note
	p.waitFor("document.querySelector('dialog') === null && document.querySelector('#notes > .note')")
	p.do("document.querySelector('[data-key^=certificate-]').click()")
	p.tap("Revoke")
	p.wants("Revoke this certificate?")
	p.tap("Revoke")
	p.wants("Give your servers the new revocation list.", "Revoked") // and not what was said before
	if got := calls(p, "revoke"); len(got) != 1 || got[0]["serial"] != "12073184629913371842" {
		t.Errorf("revoke was called with %v", got)
	}
	p.screen("ca")
	p.wants("RevokedKeys /etc/ssh/vmux_revoked.krl")
	p.do("document.querySelector('[data-key=revocation-list]').click()")
	p.waitFor("saved[0]?.name === 'vmux_revoked.krl'")
	if got := eval[string](p, "saved[0].blob.text()"); got != "SSHKRL\n\x00" {
		t.Errorf("the list is %q", got)
	}
}

func TestLogIsCheckedAndExported(t *testing.T) {
	p := open(t, startHub(t), view{before: saved})
	p.screen("activity")
	p.wants("In advance", "Revoked")
	p.do("document.querySelector('[data-key=search]').focus()")
	p.run(chromedp.KeyEvent("tmux")) // stands in a line of the sheet only
	p.waitFor("document.querySelectorAll('.log li').length === 1")
	p.do("document.querySelector('[data-key=log-r1]').click()")
	p.wants("ssh ← zsh ← tmux (said by the computer)", "Host key")
	p.tap("Check the log")
	p.wants("The log is whole", "Each of its 14 records follows from the one before.", "5f1d0c3a",
		"Older records gave way to newer ones", "Ended without your decision: the first 812 records, until", "1 certificate expired, 41200 signatures refused, 96 signatures withdrawn")
	p.tap("Close")
	p.do("fake.answers.verifyActivity = {records: 5, first: 1, last: 5, hash: 'ab', unfinished: 1, problems: ['the last 2 records are missing']}")
	p.tap("Check the log")
	p.wants("The log was changed, or is damaged", "the last 2 records are missing", "1 line left unfinished")
	p.tap("Close")
	p.tap("Export")
	p.waitFor("saved[0]?.name === 'vmux-activity.jsonl'")
	if got := eval[string](p, "saved[0].blob.text()"); strings.Count(got, "\n") != 14 {
		t.Errorf("exported %q", got)
	}
}

// What waits together for one key of the vault is one sheet; what joined counts
// only once it has been listed for a while.
func TestAnsweredTogether(t *testing.T) {
	p := open(t, startHub(t), view{})
	vault := func(id, more string) string {
		return fmt.Sprintf("sign({id: '%s', label: 'deploy', keyKind: 'vault', fingerprint: fake.full().identities[1].fingerprint%s})", id, more)
	}
	p.arrive(vault("s1", ""))
	if !eval[bool](p, "fake."+vault("s2", ", title: 'deploy@web-2.example.org'")+", "+approveButton+".disabled") {
		t.Error("Approve works at once after another request has joined")
	}
	p.wants("And 1 more request, with the same tap", "deploy@web-2.example.org", "Approve 2")
	p.do("fake." + vault("s3", "") + "; fake." + vault("s4", ", mustAcknowledge: true") + "; fake.sign({id: 's5'}); fake." + vault("s6", ", computerID: 'another'"))
	p.wants("And 2 more requests", "Approve 3", "3 more waiting")
	p.do("fake.end('s3', 'withdrawn')")
	p.wants("And 1 more request,", "Approve 2")
	p.do("fake.answers.approve = {code: 'cancelled', message: 'The passkey was not used.'}")
	p.waitFor("!" + approveButton + ".disabled")
	p.tap("Approve 2")
	p.wants("The passkey was not used.")
	p.do("delete fake.answers.approve")
	p.waitFor("!" + approveButton + ".disabled")
	p.tap("Approve 2")
	p.says("Signed for studio.")
	got := calls(p, "approve")
	if len(got) != 2 || got[1]["id"] != "s1" || fmt.Sprint(got[1]["decision"]) != "map[joined:[s2]]" {
		t.Errorf("approve was called with %v", got)
	}
	p.wants("tick the box first") // s4 stands alone
	p.tap("Deny")
	if got := calls(p, "deny"); len(got) != 1 || got[0]["id"] != "s4" || got[0]["joined"] != nil {
		t.Errorf("deny was called with %v", got)
	}
	p.wants("1 more waiting")
	p.do("fake.end('s5', 'withdrawn'); fake.end('s6', 'withdrawn'); fake.sign({id: 's9'})")
	p.waitFor("document.querySelector('dialog.request h2').innerText.includes('deploy@web-1') && !document.querySelector('dialog.ended')")
	p.do("fake.end('s9', 'withdrawn')")
	p.waitFor("document.querySelector('dialog') === null")

	p.arrive(vault("s7", ", grantable: true"))
	p.do("fake." + vault("s8", ""))
	p.tap("Other answers")
	p.waitFor(grantButton + ":enabled')")
	p.tap("Approve, and the like for 5 minutes") // of this one alone
	p.wants("Approve")
	p.waitFor("document.querySelector('dialog.request:not(.ended)')")
	p.tap("Deny")
	p.waitFor("document.querySelector('dialog') === null")
	if got := calls(p, "approve"); len(got) != 3 || fmt.Sprint(got[2]["decision"]) != "map[grantSeconds:300]" {
		t.Errorf("approve was called with %v", got)
	}
}

// At the third like request within a minute the sheet itself offers the grant, and the
// button is as inert at first as Approve is.
func TestGrantIsOffered(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.do("fake.sign({id: 's1', keyKind: 'vault', grantable: true, again: 2})")
	p.wants("You have approved 2 like it within a minute.", "Approve, and the like for 15 minutes")
	p.waitFor("document.querySelector('[data-key=\"grant-offered\"]:enabled')")
	p.tap("Approve, and the like for 15 minutes")
	p.wants("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[grantSeconds:900]" {
		t.Errorf("approve was called with %v", got)
	}
}
