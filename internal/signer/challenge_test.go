package signer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// sudo is a request to sign a challenge of pam_ssh_agent_auth.
func (p *phone) sudo(id identity.Identity, change func(*sshctx.Context)) *wire.RemoteSignRequest {
	c := sshctx.Context{
		Kind: sshctx.Sudo, User: "ada", Service: "pam_ssh_agent_auth", Algorithm: id.Algorithm, PublicKey: id.PublicKey,
		Challenge: &sshctx.Challenge{
			Cookie: bytes.Repeat([]byte{3}, 16), Account: "ada", Program: "sudo", Directory: "/srv", Host: "web-1",
			Arguments: []string{"sudo", "-u", "postgres", "sh", "-c", "rm -rf /"}, Time: uint64(time.Now().Unix()),
		},
	}
	if change != nil {
		change(&c)
	}
	r := p.request(id)
	r.DataToSign = c.Marshal()
	return r
}

func textOf(lines []activity.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Name + " " + string(l.Quality) + ": " + l.Value.String() + "\n")
	}
	return b.String()
}

// The sheet and the record say what the host says, and that only the host does.
func TestSudoIsShown(t *testing.T) {
	p := newPhone(t)
	p.cfg.OnlyNameable = true // as the web app has it
	id := p.create("work", "ssh-ed25519")
	r := p.sudo(id, nil)
	p.wantSignature(p.ask(t.Context(), r), id, r)
	if got := p.sheet.Title().String(); got != "sudo on web-1 by ada (claimed)" || p.sheet.Quality != wire.QualityClaimed || p.sheet.Grantable() {
		t.Errorf("title %q, %s, grantable: %v", got, p.sheet.Quality, p.sheet.Grantable())
	}
	want := "kind verified: a challenge of pam_ssh_agent_auth, which logs in nowhere\n" +
		"command asker: sudo -u postgres sh -c \"rm -rf /\"\nhost asker: web-1\nfolder asker: /srv\n"
	if got := textOf(p.sheet.Lines()); got != want {
		t.Errorf("lines:\n%swant:\n%s", got, want)
	}
	if got := textOf(p.sheet.Listed()); !strings.HasPrefix(got, "command asker: sudo -u postgres") {
		t.Errorf("on another one's sheet: %s", got)
	}
	records := p.requests()
	if len(records) != 1 || records[0].What != p.sheet.Title() || records[0].Decision != "approved" || !slices.Equal(records[0].Lines, p.sheet.Lines()) {
		t.Errorf("records: %+v", records)
	}
	r = p.sudo(id, func(c *sshctx.Context) { c.Challenge.Program, c.Challenge.Account = "su", "root" })
	p.wantSignature(p.ask(t.Context(), r), id, r)
	if got := p.sheet.Title().String(); got != "su on web-1 by ada for root (claimed)" {
		t.Errorf("title %q", got)
	}
	other := p.create("other", "ssh-ed25519")
	p.wantCode(p.ask(t.Context(), p.sudo(id, func(c *sshctx.Context) { c.PublicKey = other.PublicKey })), wire.CodePolicyDenied)
}

// attacker: a host that writes its challenge so that the sheet says something else, or
// that part of the command is not seen.
func TestSudoIsShownWhole(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	p.ask(t.Context(), p.sudo(id, func(c *sshctx.Context) {
		c.User, c.Challenge.Account = "ada (verified)", "ada (verified)"
		c.Challenge.Host = "web-1 by bob\u202e\x1b[2J" + strings.Repeat("x", 300)
		c.Challenge.Arguments = []string{"sudo\n", "\u202eid", strings.Repeat("é", 100), "a b", "end"}
	}))
	title := p.sheet.Title().String()
	if !strings.HasPrefix(title, `sudo on "web-1 by bob`) || !strings.HasSuffix(title, ` by "ada (verified)" (claimed)`) || len(title) > 200 || !wire.Printable(title) {
		t.Errorf("title %q", title)
	}
	var command []string
	for _, l := range p.sheet.Lines() {
		if !wire.Printable(l.Value.String()) || wire.Show(l.Value.String()) != l.Value.String() {
			t.Errorf("line %q", l.Value)
		}
		if l.Name == "command" || l.Name == "…" {
			command = append(command, l.Value.String())
		}
	}
	if got, want := strings.Join(command, ""), "sudo\uFFFD \uFFFDid "+strings.Repeat("é", 100)+` "a b" end`; got != want || len(command) != 2 {
		t.Errorf("command %q, want %q", command, want)
	}
	for name, change := range map[string]func(*sshctx.Challenge){
		"bytes of it are not shown":      func(c *sshctx.Challenge) { c.Arguments = slices.Repeat([]string{strings.Repeat("x", 200)}, 40) },
		"the command may go on":          func(c *sshctx.Challenge) { c.Arguments = []string{"sudo", strings.Repeat("x", sshctx.MaxArgument)} },
		"the command may go on: of what": func(c *sshctx.Challenge) { c.Arguments = slices.Repeat([]string{"x"}, sshctx.MaxArguments) },
		"may go on: of what is long only": func(c *sshctx.Challenge) {
			c.Arguments = []string{"sudo", "sh", "-c", strings.Repeat("true\n", 42) + "reboot"}
		},
		"may go on: of what is long only the beginning": func(c *sshctx.Challenge) {
			c.Arguments = []string{"sudo", "sh", "-c", strings.Repeat(`a "" `, 42) + "; reboot"}
		},
		`sudo -u "" id`:                 func(c *sshctx.Challenge) { c.Arguments = []string{"sudo", "-u", " ", "id"} },
		"does not say which command":    func(c *sshctx.Challenge) { c.Arguments = nil },
		"sudo on unknown by ada":        func(c *sshctx.Challenge) { c.Host = "" },
		`"sudo, as root" on web-1 by a`: func(c *sshctx.Challenge) { c.Program = "sudo, as root" },
	} {
		p.ask(t.Context(), p.sudo(id, func(c *sshctx.Context) { change(c.Challenge) }))
		if got := p.sheet.Title().String() + "\n" + textOf(p.sheet.Lines()); !strings.Contains(got, name) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// attacker: a host that keeps a challenge until its owner is likely to say yes.
func TestOldSudoIsRefused(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	for age, want := range map[time.Duration]wire.Code{
		-6 * time.Minute: wire.CodeReplayDetected, -4 * time.Minute: "", 4 * time.Minute: "",
		6 * time.Minute: wire.CodeReplayDetected, 1e6 * time.Hour: wire.CodeReplayDetected,
	} {
		answer := p.ask(t.Context(), p.sudo(id, func(c *sshctx.Context) { c.Challenge.Time = uint64(time.Now().Add(-age).Unix()) }))
		if codeOf(answer.Error) != want {
			t.Errorf("%s old: %v", age, answer.Error)
		}
	}
	for _, time := range []uint64{0, 1 << 63, 1<<64 - 1} {
		p.wantCode(p.ask(t.Context(), p.sudo(id, func(c *sshctx.Context) { c.Challenge.Time = time })), wire.CodeReplayDetected)
	}
	if p.asked != 2 {
		t.Errorf("asked %d times", p.asked)
	}
	if !slices.ContainsFunc(p.requests(), func(r activity.Record) bool {
		return r.Decision == "refused" && r.What.String() == "sudo on web-1 by ada (claimed)"
	}) {
		t.Errorf("no record of a refusal: %+v", p.requests())
	}
}

// attacker: another server than the one whose sudo may ask. What counts is the session binding,
// which the server has signed, and not how the challenge calls the host.
func TestSudoOfOneServer(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	web, evil := newServer(t), newServer(t)
	asks := func(bindings ...[]byte) wire.Code {
		r := p.sudo(id, nil)
		r.Bindings = bindings
		return codeOf(p.ask(t.Context(), r).Error)
	}
	through := func(s server, n byte) []byte { return s.bind(t, sessionID(n), true) }
	if got := asks(through(evil, 1)); got != "" {
		t.Errorf("without rules: %s", got)
	}
	if got := textOf(p.sheet.Lines()); !strings.Contains(got, "through verified: "+evil.fingerprint()) {
		t.Errorf("who asks:\n%s", got)
	}
	if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Sudo = []string{web.fingerprint()} }); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		bindings [][]byte
		want     wire.Code
	}{
		"the server":                {[][]byte{through(web, 1)}, ""},
		"another one":               {[][]byte{through(evil, 1)}, wire.CodePolicyDenied},
		"the server by another":     {[][]byte{through(evil, 1), through(web, 2)}, wire.CodePolicyDenied},
		"another by the server":     {[][]byte{through(web, 1), through(evil, 2)}, wire.CodePolicyDenied},
		"a program of the computer": {nil, wire.CodePolicyDenied},
	} {
		if got := asks(test.bindings...); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
