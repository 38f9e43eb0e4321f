package webui

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/test/browser"
	"vmux/test/web"
)

// The pages, the real core, the real hub, the agent and ssh-keygen: everything a
// person does with fingers, from the first screen to a signature and a
// certificate.
func TestByHand(t *testing.T) {
	real := realHub(t)
	agent := web.StartAgent(t, real.URL)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: real.URL}}, view{})
	p.Authenticator(browser.AuthenticatorOptions{})
	p.Wants("Your SSH keys, on this phone")
	p.pairs(agent)
	p.Wants("Connected")

	p.makeKey("hardware", "")
	p.makeKey("everywhere", "Ed25519")
	p.signFile(agent)
	p.signTogether(agent)
	p.grantSignatures(agent)
	p.issue(agent)
	p.revokeIssued(agent)
	p.muteProgram(agent)
	p.bombed(agent)
	p.Tolerate("pubKeyCredParams is missing") // no RS256: SSH has no passkeys of that kind
}

func (p *tab) makeKey(name, algorithm string) {
	p.t.Helper()
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", name)
	if algorithm != "" {
		p.Do("document.querySelector('[data-key=kind-vault]').click()")
		p.Tap(algorithm)
	}
	p.Tap("Create")
	p.Wants(name + " is ready.")
	p.WaitFor("Array.from(document.querySelectorAll('main bdi')).some((e) => e.textContent === " + browser.Quoted(name) + ")")
}

// signFile has a file signed by the vault's key, as `ssh-keygen -Y sign` does it.
func (p *tab) signFile(agent *web.Agent) {
	p.t.Helper()
	agent.MustVmux("keys", "refresh")
	cmd, check := p.signing(agent, "file")
	p.approves(cmd, "File signature", "Checked by this phone", "everywhere")
	check()
}

// signTogether has thirty files signed at the same time, with one tap.
func (p *tab) signTogether(agent *web.Agent) {
	p.t.Helper()
	type signing struct {
		cmd   *exec.Cmd
		check func()
	}
	var all []signing
	for range 30 {
		cmd, check := p.signing(agent, "file")
		if err := cmd.Start(); err != nil {
			p.t.Fatal(err)
		}
		all = append(all, signing{cmd, check})
	}
	p.Wants("And 29 more requests, with the same tap", "Approve 30")
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve 30")
	for _, s := range all {
		if err := s.cmd.Wait(); err != nil {
			p.t.Fatalf("%v\nthe page shows:\n%s", err, p.Text())
		}
		s.check()
	}
	p.WaitFor("document.querySelector('dialog') === null")
}

// grantSignatures approves a git signature and the like of it: the next one is
// made without a sheet, until the grant is ended.
func (p *tab) grantSignatures(agent *web.Agent) {
	p.t.Helper()
	p.Screen("settings")
	p.Do("document.querySelector('[data-key=\"switch-Approve in advance\"]').click()")
	p.Do("const core = await import('/core.js'); while (!(await core.state()).grants.enabled) { await new Promise((r) => setTimeout(r, 20)); }")
	first, check := p.signing(agent, "git")
	p.approves(first, "Git signature", "Other answers")
	check()
	p.Screen("home")
	p.Wants("Approved in advance", "14 min left")
	second, check := p.signing(agent, "git")
	if out, err := second.CombinedOutput(); err != nil {
		p.t.Fatalf("with a grant: %v\n%s\nthe page shows:\n%s", err, out, p.Text())
	}
	check()
	if n := browser.Eval[int](p, "document.querySelectorAll('dialog').length"); n != 0 {
		p.t.Error("a sheet was shown though a grant holds")
	}
	p.Screen("activity")
	p.Wants("In advance")
	p.Tap("Check the log")
	p.Wants("The log is whole", "Each of its 37 records")
	p.Tap("Close")
	p.Screen("home")
	p.Tap("End: git signatures")
	p.WaitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	third, check := p.signing(agent, "git")
	p.approves(third, "Git signature", "Other answers")
	check()
	p.Wants("Approved in advance")
	p.Do("dispatchEvent(new Event('pagehide'))") // as when the app is closed
	p.WaitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	fourth, check := p.signing(agent, "git")
	p.approves(fourth, "Git signature", "everywhere")
	check()
}

// revokeIssued revokes the certificate: the computer drops it at once.
func (p *tab) revokeIssued(agent *web.Agent) {
	p.t.Helper()
	p.Screen("home")
	p.Do("document.querySelector('[data-key^=certificate-]').click()")
	p.Tap("Revoke")
	p.Wants("Revoke this certificate?")
	p.Tap("Revoke")
	p.Wants("Give your servers the new revocation list.", "Revoked")
	for deadline := time.Now().Add(patience); strings.Contains(agent.MustVmux("status"), "Certificate valid until"); {
		if time.Now().After(deadline) {
			p.t.Fatalf("the computer keeps a revoked certificate:\n%s", agent.MustVmux("status"))
		}
	}
}

// muteProgram denies, and mutes the program that asked: it is refused without a
// sheet, and another one is asked for.
func (p *tab) muteProgram(agent *web.Agent) {
	p.t.Helper()
	first, _ := p.signing(agent, "file")
	p.denies(first, func() {
		p.Tap("Other answers")
		p.WaitFor("document.querySelector('[data-key=mute]:enabled')")
		p.Do("document.querySelector('[data-key=mute]').click()")
	})
	again, _ := p.signing(agent, "file")
	p.denies(again, func() {})
	if out := agent.MustVmux("status", "--json"); !strings.Contains(out, "muted: this program is not asked for") {
		p.t.Errorf("vmux status does not say why:\n%s", out)
	}
	p.Screen("home")
	p.Wants("Program muted")
	script, check := p.signing(agent, "file")
	script.Args = append([]string{"sh", "-c", `"$@"; exit $?`, "sh"}, script.Args...) // asked for by another chain of programs
	script.Path = "/bin/sh"
	p.approves(script, "File signature")
	check()
}

// bombed denies three times: the computer is paused, what it asked is told and
// kept, and it is unpaired at once.
func (p *tab) bombed(agent *web.Agent) {
	p.t.Helper()
	p.Do("const core = await import('/core.js'); for (const c of (await core.state()).computers) { await core.call('endPauses', {id: c.id}); }")
	for browser.Eval[bool](p, "import('/core.js').then((c) => c.state()).then((s) => s.pauses.length === 0)") {
		cmd, _ := p.signing(agent, "file")
		p.denies(cmd, func() { p.Tap("Deny") })
	}
	p.Wants("is paused for some minutes")
	p.Tap("What it asked")
	p.Wants("Since the denials it asked for this (", "3 denied", "file signature", "by ssh-keygen ← ")
	p.Do(saved)
	p.Tap("Save a report")
	p.WaitFor("globalThis.saved.length === 1")
	if kept := browser.Eval[string](p, "saved[0].blob.text()"); strings.Count(kept, `"decision":"denied"`) != 3 || !strings.Contains(kept, `"what":"file signature"`) {
		p.t.Errorf("the report:\n%s", kept)
	}
	p.Tap("Unpair")
	p.Wants("Unpair this computer?")
	p.Tap("Unpair")
	p.says("is no longer paired.")
	for deadline := time.Now().Add(patience); !strings.Contains(agent.MustVmux("status"), "Phone not connected"); {
		if time.Now().After(deadline) {
			p.t.Fatalf("the computer is still connected:\n%s", agent.MustVmux("status"))
		}
	}
}

// denies runs a command that asks this phone, and that must fail.
func (p *tab) denies(cmd *exec.Cmd, answer func()) {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	answer()
	if err := <-done; err == nil {
		p.t.Errorf("%v: signed after a denial", cmd.Args)
	}
	p.WaitFor("document.querySelector('dialog') === null")
}

// signing is a command that has a file signed by the vault's key, and what
// checks that it was.
func (p *tab) signing(agent *web.Agent, namespace string) (cmd *exec.Cmd, check func()) {
	p.t.Helper()
	line := browser.Eval[string](p, "import('/core.js').then((c) => c.state()).then((s) => s.identities.find((i) => i.label === 'everywhere').publicKey)")
	dir := p.t.TempDir()
	public, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "text")
	for name, text := range map[string]string{public: line + "\n", file: "signed on a phone\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	p.t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-f", public, "-n", namespace, file)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent.Socket)
	return cmd, func() {
		p.t.Helper()
		if signature, err := os.ReadFile(file + ".sig"); err != nil || !strings.Contains(string(signature), "BEGIN SSH SIGNATURE") {
			p.t.Errorf("the signature is %q, %v", signature, err)
		}
	}
}

// issue makes a CA and has it sign a session certificate, shortened on its sheet.
func (p *tab) issue(agent *web.Agent) {
	p.t.Helper()
	p.Screen("ca")
	p.Tap("Create a CA")
	p.Fill("Account names", "ada, deploy")
	p.Tap("Create")
	p.says("The CA is ready.")
	p.Wants("vmux ca accept", agent.AcceptCA())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.approves(agent.Vmux(ctx, "cert", "request"), "Session certificate", "15 min", "deploy")
	if out := agent.MustVmux("status"); !strings.Contains(out, "Certificate valid until") {
		p.t.Errorf("the computer's status is\n%s", out)
	}
	p.Screen("home")
	p.Wants("as ada", "14 min left")
	p.Screen("activity")
	p.Wants("Session certificate", "File signature", "Approved")
}

// approves runs a command that asks this phone, and taps as a person does. What
// can be chosen on the sheet is.
func (p *tab) approves(cmd *exec.Cmd, texts ...string) {
	p.t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	p.Wants(texts...)
	if texts[0] == "Session certificate" {
		p.Tap("15 min")
		p.Tap("deploy") // not for this account
	}
	p.WaitFor("!" + approveButton + ".disabled")
	if slices.Contains(texts, "Other answers") {
		p.Tap("Other answers")
		p.WaitFor(grantButton + ":enabled')")
		p.Tap("Approve, and the like for 15 minutes")
	} else {
		p.Tap("Approve")
	}
	if err := <-done; err != nil {
		p.t.Fatalf("%s: %v\n%s\nthe page shows:\n%s", fmt.Sprint(cmd.Args), err, out.String(), p.Text())
	}
	p.WaitFor("document.querySelector('dialog') === null")
}

// pairs pairs with a computer, by the text of its invitation.
func (p *tab) pairs(agent *web.Agent) {
	p.t.Helper()
	invitation, paired := agent.Invite()
	p.Tap("Pair a computer")
	p.Fill("Or paste the invitation", invitation)
	p.Tap("Continue")
	p.Wants("Pair with this computer?")
	p.Tap("Pair")
	paired()
	p.says("Paired with") // and goes home by itself
}
