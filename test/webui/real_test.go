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

	"github.com/chromedp/cdproto/webauthn"

	"vmux/test/web"
)

// The pages, the real core, the real hub, the agent and ssh-keygen: everything a
// person does with fingers, from the first screen to a signature and a
// certificate.
func TestByHand(t *testing.T) {
	real := realHub(t)
	agent := web.StartAgent(t, real.URL)
	p := open(t, &hub{t: t, Server: &httptest.Server{URL: real.URL}}, view{})
	p.addAuthenticator()
	p.wants("Your SSH keys, on this phone")
	p.pairs(agent)
	p.wants("Connected")

	p.makeKey("hardware", "")
	p.makeKey("everywhere", "Ed25519")
	p.signFile(agent)
	p.signTogether(agent)
	p.grantSignatures(agent)
	p.issue(agent)
	p.revokeIssued(agent)
	p.muteProgram(agent)
	p.bombed(agent)
	p.tolerate("pubKeyCredParams is missing") // no RS256: SSH has no passkeys of that kind
}

// addAuthenticator gives the page what a phone has of its own.
func (p *tab) addAuthenticator() {
	p.t.Helper()
	send(p, webauthn.Enable, webauthn.EnableParams{})
	send(p, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, HasPrf: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
}

func (p *tab) makeKey(name, algorithm string) {
	p.t.Helper()
	p.screen("identities")
	p.tap("Create a key")
	p.fill("Name", name)
	if algorithm != "" {
		p.do("document.querySelector('[data-key=kind-vault]').click()")
		p.tap(algorithm)
	}
	p.tap("Create")
	p.wants(name + " is ready.")
	p.waitFor("Array.from(document.querySelectorAll('main bdi')).some((e) => e.textContent === " + quoted(name) + ")")
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
	p.wants("And 29 more requests, with the same tap", "Approve 30")
	p.waitFor("!" + approveButton + ".disabled")
	p.tap("Approve 30")
	for _, s := range all {
		if err := s.cmd.Wait(); err != nil {
			p.t.Fatalf("%v\nthe page shows:\n%s", err, p.text())
		}
		s.check()
	}
	p.waitFor("document.querySelector('dialog') === null")
}

// grantSignatures approves a git signature and the like of it: the next one is
// made without a sheet, until the grant is ended.
func (p *tab) grantSignatures(agent *web.Agent) {
	p.t.Helper()
	p.screen("settings")
	p.do("document.querySelector('[data-key=\"switch-Approve in advance\"]').click()")
	p.do("const core = await import('/core.js'); while (!(await core.state()).grants.enabled) { await new Promise((r) => setTimeout(r, 20)); }")
	first, check := p.signing(agent, "git")
	p.approves(first, "Git signature", "Other answers")
	check()
	p.screen("home")
	p.wants("Approved in advance", "14 min left")
	second, check := p.signing(agent, "git")
	if out, err := second.CombinedOutput(); err != nil {
		p.t.Fatalf("with a grant: %v\n%s\nthe page shows:\n%s", err, out, p.text())
	}
	check()
	if n := eval[int](p, "document.querySelectorAll('dialog').length"); n != 0 {
		p.t.Error("a sheet was shown though a grant holds")
	}
	p.screen("activity")
	p.wants("In advance")
	p.tap("Check the log")
	p.wants("The log is whole", "Each of its 37 records")
	p.tap("Close")
	p.screen("home")
	p.tap("End: git signatures")
	p.waitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	third, check := p.signing(agent, "git")
	p.approves(third, "Git signature", "Other answers")
	check()
	p.wants("Approved in advance")
	p.do("dispatchEvent(new Event('pagehide'))") // as when the app is closed
	p.waitFor("!document.querySelector('main').innerText.includes('Approved in advance')")
	fourth, check := p.signing(agent, "git")
	p.approves(fourth, "Git signature", "everywhere")
	check()
}

// revokeIssued revokes the certificate: the computer drops it at once.
func (p *tab) revokeIssued(agent *web.Agent) {
	p.t.Helper()
	p.screen("home")
	p.do("document.querySelector('[data-key^=certificate-]').click()")
	p.tap("Revoke")
	p.wants("Revoke this certificate?")
	p.tap("Revoke")
	p.wants("Give your servers the new revocation list.", "Revoked")
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
		p.tap("Other answers")
		p.waitFor("document.querySelector('[data-key=mute]:enabled')")
		p.do("document.querySelector('[data-key=mute]').click()")
	})
	again, _ := p.signing(agent, "file")
	p.denies(again, func() {})
	if out := agent.MustVmux("status", "--json"); !strings.Contains(out, "muted: this program is not asked for") {
		p.t.Errorf("vmux status does not say why:\n%s", out)
	}
	p.screen("home")
	p.wants("Program muted")
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
	p.do("const core = await import('/core.js'); for (const c of (await core.state()).computers) { await core.call('endPauses', {id: c.id}); }")
	for eval[bool](p, "import('/core.js').then((c) => c.state()).then((s) => s.pauses.length === 0)") {
		cmd, _ := p.signing(agent, "file")
		p.denies(cmd, func() { p.tap("Deny") })
	}
	p.wants("is paused for some minutes")
	p.tap("What it asked")
	p.wants("Since the denials it asked for this (", "3 denied", "file signature", "by ssh-keygen ← ")
	p.do(saved)
	p.tap("Save a report")
	p.waitFor("globalThis.saved.length === 1")
	if kept := eval[string](p, "saved[0].blob.text()"); strings.Count(kept, `"decision":"denied"`) != 3 || !strings.Contains(kept, `"what":"file signature"`) {
		p.t.Errorf("the report:\n%s", kept)
	}
	p.tap("Unpair")
	p.wants("Unpair this computer?")
	p.tap("Unpair")
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
	p.waitFor("document.querySelector('dialog') === null")
}

// signing is a command that has a file signed by the vault's key, and what
// checks that it was.
func (p *tab) signing(agent *web.Agent, namespace string) (cmd *exec.Cmd, check func()) {
	p.t.Helper()
	line := eval[string](p, "import('/core.js').then((c) => c.state()).then((s) => s.identities.find((i) => i.label === 'everywhere').publicKey)")
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
	p.screen("ca")
	p.tap("Create a CA")
	p.fill("Account names", "ada, deploy")
	p.tap("Create")
	p.says("The CA is ready.")
	p.wants("vmux ca accept", agent.AcceptCA())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.approves(agent.Vmux(ctx, "cert", "request"), "Session certificate", "15 min", "deploy")
	if out := agent.MustVmux("status"); !strings.Contains(out, "Certificate valid until") {
		p.t.Errorf("the computer's status is\n%s", out)
	}
	p.screen("home")
	p.wants("as ada", "14 min left")
	p.screen("activity")
	p.wants("Session certificate", "File signature", "Approved")
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
	p.wants(texts...)
	if texts[0] == "Session certificate" {
		p.tap("15 min")
		p.tap("deploy") // not for this account
	}
	p.waitFor("!" + approveButton + ".disabled")
	if slices.Contains(texts, "Other answers") {
		p.tap("Other answers")
		p.waitFor(grantButton + ":enabled')")
		p.tap("Approve, and the like for 15 minutes")
	} else {
		p.tap("Approve")
	}
	if err := <-done; err != nil {
		p.t.Fatalf("%s: %v\n%s\nthe page shows:\n%s", fmt.Sprint(cmd.Args), err, out.String(), p.text())
	}
	p.waitFor("document.querySelector('dialog') === null")
}

// pairs pairs with a computer, by the text of its invitation.
func (p *tab) pairs(agent *web.Agent) {
	p.t.Helper()
	invitation, paired := agent.Invite()
	p.tap("Pair a computer")
	p.fill("Or paste the invitation", invitation)
	p.tap("Continue")
	p.wants("Pair with this computer?")
	p.tap("Pair")
	paired()
	p.says("Paired with") // and goes home by itself
}
