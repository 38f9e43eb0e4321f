package webui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"vmux/test/browser"
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
	p.Tap("Other answers")
	p.Wants("The like of it: logins as deploy to this server with the key deploy, asked by studio.")
	early := browser.Eval[int](p, `(async () => {
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
	p.WaitFor("!" + approveButton + ".classList.contains('arming')")
	p.Tap("Approve, and the like for 15 minutes")
	p.says("Signed for studio.")
	got := calls(p, "approve")
	if len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[grantSeconds:900]" || got[0]["active"] != true {
		t.Errorf("approve was called with %v", got)
	}
	p.WaitFor("document.querySelector('dialog') === null")
	p.arrive(grantable)
	p.Tap("Approve")
	p.says("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 2 || fmt.Sprint(got[1]["decision"]) != "map[]" {
		t.Errorf("a plain approval was called with %v", got)
	}
}

// What cannot be granted offers only to mute; a menu does not outlive its request.
func TestOtherAnswers(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.arrive("sign()")
	p.Tap("Other answers")
	if browser.Eval[bool](p, grantButton+"') !== null") {
		t.Error("a grant is offered for what cannot be granted")
	}
	p.Do("fake.sign({title: 'root@web-2.example.org'})") // another request now
	p.WaitFor("document.querySelectorAll('dialog').length === 1")
	p.Tap("Other answers")
	p.Do("fake.end('s1', 'withdrawn')")
	p.WaitFor("document.querySelector('dialog') === null")

	p.arrive("sign({id: 's2'})")
	p.Tap("Other answers")
	p.WaitFor("document.querySelector('[data-key=mute]:enabled')")
	p.Wants("Deny, and mute this program for an hour", "ssh ← zsh ← tmux")
	p.Do("document.querySelector('[data-key=mute]').click()")
	p.says("Denied. Nothing was signed.")
	if got := calls(p, "deny"); len(got) != 1 || got[0]["mute"] != true {
		t.Errorf("deny was called with %v", got)
	}
	p.WaitFor("document.querySelector('dialog') === null")
	p.Do("fake.certificate()")
	p.Wants("Session certificate")
	if browser.Eval[bool](p, "document.querySelector('[data-key=other-answers]') !== null") {
		t.Error("other answers to a certificate")
	}
}

func TestGrantsAreListed(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do(granted)
	p.Wants("Approved in advance", "deploy@web-1.example.org", "13 min left")
	p.Tap("End: deploy@web-1.example.org")
	p.WaitFor("!document.querySelector('main').innerText.includes('deploy@web-1') && document.querySelector('main').innerText.includes('git signatures')")
	p.Do("fake.set({grants: {enabled: true, list: [{id: 'g3', label: 'deploy', computer: 'studio', what: 'over', since: 0, until: Date.now() - 1}]}})")
	p.WaitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	p.Do(granted)
	p.Tap("End all")
	p.WaitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	if got := calls(p, "endGrant"); len(got) != 2 || got[0]["id"] != "g1" || got[1]["id"] != "" {
		t.Errorf("endGrant was called with %v", got)
	}
	p.Screen("settings")
	p.Do("document.querySelector('[data-key=\"switch-Approve in advance\"]').click()")
	p.WaitFor("fake.calls.some((c) => c.name === 'enableGrants' && c.args.enabled === false)")
}

// After several denials the person hears of the pause, can unpair at once, and
// reads and keeps what was asked.
func TestPausedComputer(t *testing.T) {
	p := open(t, startHub(t), view{before: saved})
	p.Do(granted + "; fake.emit('paused', fake.full() && {computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 3e5})")
	p.Wants("old-laptop is paused for some minutes", "Did nobody start them?")
	p.Tap("Unpair")
	p.Wants("Unpair this computer?")
	p.Tap("Cancel")
	p.Do("fake.emit('paused', {computerID: fake.full().computers[1].id, computer: 'old-laptop', until: Date.now() + 3e5})")
	p.Tap("What it asked")
	p.Wants("3 denied, 2 refused", "root@web-1.example.org", "by ssh ← python3 · 4 times", "git commit signature")
	p.Tap("Save a report")
	p.WaitFor("saved[0]?.name === 'vmux-report.jsonl'")
	if got := browser.Eval[string](p, "saved[0].blob.text()"); got != "{\"decision\":\"denied\"}\n" {
		t.Errorf("the report is %q", got)
	}
	p.Tap("Unpair")
	p.Wants("Unpair this computer?")
	p.Tap("Cancel")
	p.Do("document.querySelector('[data-key^=computer-yo6]').click()")
	p.Wants("Its requests are refused without asking you", "3 min left", "Save a report")
	p.Tap("Let it ask again")
	p.WaitFor("document.querySelector('dialog') === null && !document.querySelector('main').innerText.includes('Paused')")
}

func TestAllowedUses(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen(vaultKey)
	p.Tap("Everything You are asked each time. Tap to limit it.")
	p.Fill("Servers", "web-1.example.org SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE")
	p.Tap("allow logins that do not name the host key (OpenSSH before 8.9)")
	p.Fill("Accounts", "deploy, ada")
	p.Tap("use through another server")
	p.Fill("Hours", "9 to 5")
	p.Do("fake.answers.setRules = {code: 'invalid', message: 'not hours such as 08:00-18:00'}")
	p.Tap("Save")
	p.Wants("not hours such as 08:00-18:00")
	p.Do("delete fake.answers.setRules")
	p.Fill("Hours", "Mon-Fri 08:00-18:00")
	p.Tap("Save")
	p.Wants("This holds from now on.", "Also where a login does not name the server: old servers", "Only as deploy, ada", "Never for use through another server", "Only at mon-fri 08:00-18:00", "3 requests refused so far")
	rules := fmt.Sprint(calls(p, "setRules")[1]["rules"])
	for _, want := range []string{"forbid:[forwarded]", "hosts:[web-1.example.org SHA256:", "hours:mon-fri 08:00-18:00", "namespaces:[]", "oldServers:true", "users:[deploy ada]"} {
		if !strings.Contains(rules, want) {
			t.Errorf("the rules are %s, want %s", rules, want)
		}
	}
	p.Do("document.querySelector('[data-key=rules]').click()")
	p.Tap("Allow everything")
	p.Wants("Every use is allowed again")
	if got := calls(p, "setRules"); len(got) != 3 || fmt.Sprint(got[2]["rules"]) != "map[]" {
		t.Errorf("setRules was called with %v", got)
	}
}

func TestServers(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Screen("settings")
	p.Tap("Servers this phone remembers")
	p.Wants("web-1.example.org", "as deploy, ada", "Without a name")
	p.Do("document.querySelector('[data-key^=\"host-SHA256:mVP\"]').click()")
	p.Wants("web-1.example.org, web-1")
	p.Tap("Forget")
	p.Wants("Forget this server?")
	p.Do("fake.answers.hosts = []")
	p.Tap("Forget")
	p.says("web-1.example.org is forgotten.")
	p.Wants("None yet")
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
	p.Do("document.querySelector('[data-key^=certificate-]').click()")
	p.Wants("12073184629913371842")
	p.Tap("Revoke")
	p.Wants("Revoke this certificate?", "servers refuse it once they have the revocation list")
	p.Tap("Cancel")
	if len(calls(p, "revoke")) != 0 {
		t.Error("revoked without confirmation")
	}
	p.Do("fake.sign(); fake.end('s1', 'withdrawn'); fake.sign({id: 's2'}); fake.end('s2', 'withdrawn')") // leaves a note
	p.WaitFor("document.querySelector('dialog') === null && document.querySelector('#notes > .note')")
	p.Do("document.querySelector('[data-key^=certificate-]').click()")
	p.Tap("Revoke")
	p.Wants("Revoke this certificate?")
	p.Tap("Revoke")
	p.Wants("Give your servers the new revocation list.", "Revoked") // and not what was said before
	if got := calls(p, "revoke"); len(got) != 1 || got[0]["serial"] != "12073184629913371842" {
		t.Errorf("revoke was called with %v", got)
	}
	p.Screen("ca")
	p.Wants("RevokedKeys /etc/ssh/vmux_revoked.krl")
	p.Do("document.querySelector('[data-key=revocation-list]').click()")
	p.WaitFor("saved[0]?.name === 'vmux_revoked.krl'")
	if got := browser.Eval[string](p, "saved[0].blob.text()"); got != "SSHKRL\n\x00" {
		t.Errorf("the list is %q", got)
	}
}

func TestLogIsCheckedAndExported(t *testing.T) {
	p := open(t, startHub(t), view{before: saved})
	p.Screen("activity")
	p.Wants("In advance", "Revoked")
	p.Do("document.querySelector('[data-key=search]').focus()")
	p.Act(chromedp.KeyEvent("tmux")) // stands in a line of the sheet only
	p.WaitFor("document.querySelectorAll('.log li').length === 1")
	p.Do("document.querySelector('[data-key=log-r1]').click()")
	p.Wants("ssh ← zsh ← tmux (said by the computer)", "Host key")
	p.Tap("Check the log")
	p.Wants("The log is whole", "Each of its 14 records follows from the one before.", "5f1d0c3a",
		"Older records gave way to newer ones", "Ended without your decision: the first 812 records, until", "1 certificate expired, 41200 signatures refused, 96 signatures withdrawn")
	p.Tap("Close")
	p.Do("fake.answers.verifyActivity = {records: 5, first: 1, last: 5, hash: 'ab', unfinished: 1, problems: ['the last 2 records are missing']}")
	p.Tap("Check the log")
	p.Wants("The log was changed, or is damaged", "the last 2 records are missing", "1 line left unfinished")
	p.Tap("Close")
	p.Tap("Export")
	p.WaitFor("saved[0]?.name === 'vmux-activity.jsonl'")
	if got := browser.Eval[string](p, "saved[0].blob.text()"); strings.Count(got, "\n") != 14 {
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
	if !browser.Eval[bool](p, "fake."+vault("s2", ", title: 'deploy@web-2.example.org'")+", "+approveButton+".disabled") {
		t.Error("Approve works at once after another request has joined")
	}
	p.Wants("And 1 more request, with the same tap", "deploy@web-2.example.org", "Approve 2")
	p.Do("fake." + vault("s3", "") + "; fake." + vault("s4", ", mustAcknowledge: true") + "; fake.sign({id: 's5'}); fake." + vault("s6", ", computerID: 'another'"))
	p.Wants("And 2 more requests", "Approve 3", "3 more waiting")
	p.Do("fake.end('s3', 'withdrawn')")
	p.Wants("And 1 more request,", "Approve 2")
	p.Do("fake.answers.approve = {code: 'cancelled', message: 'The passkey was not used.'}")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve 2")
	p.Wants("The passkey was not used.")
	p.Do("delete fake.answers.approve")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve 2")
	p.says("Signed for studio.")
	got := calls(p, "approve")
	if len(got) != 2 || got[1]["id"] != "s1" || fmt.Sprint(got[1]["decision"]) != "map[joined:[s2]]" {
		t.Errorf("approve was called with %v", got)
	}
	p.Wants("tick the box first") // s4 stands alone
	p.Tap("Deny")
	if got := calls(p, "deny"); len(got) != 1 || got[0]["id"] != "s4" || got[0]["joined"] != nil {
		t.Errorf("deny was called with %v", got)
	}
	p.Wants("1 more waiting")
	p.Do("fake.end('s5', 'withdrawn'); fake.end('s6', 'withdrawn'); fake.sign({id: 's9'})")
	p.WaitFor("document.querySelector('dialog.request h2').innerText.includes('deploy@web-1') && !document.querySelector('dialog.ended')")
	p.Do("fake.end('s9', 'withdrawn')")
	p.WaitFor("document.querySelector('dialog') === null")

	p.arrive(vault("s7", ", grantable: true"))
	p.Do("fake." + vault("s8", ""))
	p.Tap("Other answers")
	p.WaitFor(grantButton + ":enabled')")
	p.Tap("Approve, and the like for 5 minutes") // of this one alone
	p.Wants("Approve")
	p.WaitFor("document.querySelector('dialog.request:not(.ended)')")
	p.Tap("Deny")
	p.WaitFor("document.querySelector('dialog') === null")
	if got := calls(p, "approve"); len(got) != 3 || fmt.Sprint(got[2]["decision"]) != "map[grantSeconds:300]" {
		t.Errorf("approve was called with %v", got)
	}
}

// At the third like request within a minute the sheet itself offers the grant, and the
// button is as inert at first as Approve is.
func TestGrantIsOffered(t *testing.T) {
	p := open(t, startHub(t), view{})
	p.Do("fake.sign({id: 's1', keyKind: 'vault', grantable: true, again: 2})")
	p.Wants("You have approved 2 like it within a minute.", "Approve, and the like for 15 minutes")
	p.WaitFor("document.querySelector('[data-key=\"grant-offered\"]:enabled')")
	p.Tap("Approve, and the like for 15 minutes")
	p.Wants("Signed for studio.")
	if got := calls(p, "approve"); len(got) != 1 || fmt.Sprint(got[0]["decision"]) != "map[grantSeconds:900]" {
		t.Errorf("approve was called with %v", got)
	}
}
