package signer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// attacker: a computer in wrong hands, which calls its own server by the name of
// one that the key is for, and that this phone has never seen. The person is told
// that the name is its word alone, and has to acknowledge that; from then on the
// name is that of the key which was approved.
func TestNameThatOnlyTheComputerSays(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	prod, evil := newServer(t), newServer(t)
	set := func(hosts ...string) {
		t.Helper()
		if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Hosts = hosts }); err != nil {
			t.Fatal(err)
		}
	}
	answer := true
	p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) {
		p.asked, p.sheet = p.asked+1, s
		return SignDecision{Approved: answer}, nil
	}
	logsIn := func(s *server, name string, warned bool) {
		t.Helper()
		before := p.asked
		err := p.askLogin(id, login(id, sessionID(0), "root", s), name)
		warning := slices.ContainsFunc(p.sheet.Lines(), func(l activity.Line) bool {
			return l.Warning && l.Value.String() == "the key is limited to certain servers; that this is "+name+" only the computer says"
		})
		if (err == nil) != answer || p.asked != before+1 || warning != warned || p.sheet.MustAcknowledge() != warned {
			t.Errorf("%s: %v, asked %d times, warned %v", name, err, p.asked-before, p.sheet.Lines())
		}
	}
	refused := func(s *server, name string) {
		t.Helper()
		before := p.asked
		err := p.askLogin(id, login(id, sessionID(0), "root", s), name)
		if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || p.asked != before {
			t.Errorf("%s: %v, asked %d times", name, err, p.asked-before)
		}
	}
	set("prod.example")
	answer = false
	logsIn(&evil, "prod.example", true)
	if title := p.sheet.Title().String(); title != "root@prod.example (claimed)" {
		t.Errorf("title %q", title)
	}
	answer = true
	logsIn(&prod, "prod.example", true)
	logsIn(&prod, "prod.example", false)
	logsIn(&prod, "whatever it says", false)
	refused(&evil, "prod.example")
	refused(&evil, "other.example")
	set(sshctx.Fingerprint(evil.blob())) // a fingerprint needs nobody's word
	logsIn(&evil, "evil.example", false)

	// Limited while the sheet is open: what was shown had no warning.
	set()
	third := newServer(t)
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) {
		set("third.example")
		return SignDecision{Approved: true}, nil
	}
	err := p.askLogin(id, login(id, sessionID(0), "root", &third), "third.example")
	if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) {
		t.Errorf("limited meanwhile: %v", err)
	}
}

// What agents are told: host keys, and nothing where a name is among them, since
// the phone alone knows whom a name stands for.
func TestRulesThatAgentsAreTold(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	one, two := sshctx.Fingerprint([]byte("one")), sshctx.Fingerprint([]byte("two"))
	many := slices.Repeat([]string{one}, wire.MaxHosts+1)
	for _, test := range []struct{ hosts, told []string }{
		{nil, nil}, {[]string{one, two}, []string{one, two}}, {[]string{one, "prod.example"}, nil}, {many, nil},
	} {
		if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Hosts = test.hosts }); err != nil {
			t.Fatal(err)
		}
		list, err := p.KeyList()
		if err != nil || len(list.Keys) != 1 || !slices.Equal(list.Keys[0].Hosts, test.told) || list.Check() != nil {
			t.Errorf("rules %q: %+v, %v", test.hosts, list, err)
		}
	}
}

// A rule is applied before anybody is asked, to certificates as well, and is
// told to the computer.
func TestRulesDisturbNobody(t *testing.T) {
	p := newPhone(t)
	p.createCA("root", "deploy")
	id := p.create("work", "ssh-ed25519")
	set := func(r policy.Rules) {
		t.Helper()
		if _, err := p.Identities.SetRules(id, func(old *policy.Rules) { *old = r }); err != nil {
			t.Fatal(err)
		}
	}
	set(policy.Rules{Users: []string{"deploy"}})
	prod := newServer(t)
	err := p.askLogin(id, login(id, sessionID(0), "root", &prod), "prod.example")
	if !errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || !strings.Contains(err.Error(), "policy of work: no login as root") || p.asked != 0 {
		t.Errorf("got %v, asked %d times", err, p.asked)
	}
	if err := p.askLogin(id, login(id, sessionID(0), "deploy", &prod), "prod.example"); err != nil {
		t.Error(err)
	}
	r := certificateRequest(t, p)
	r.Principals = nil
	if answer := p.askCertificate(r); codeOf(answer.Error) != wire.CodePolicyDenied {
		t.Errorf("a certificate for root too: %v", answer.Error)
	}
	r = certificateRequest(t, p)
	r.Principals = []string{"deploy"}
	if answer := p.askCertificate(r); answer.Error != nil {
		t.Errorf("a certificate for deploy: %v", answer.Error)
	}
	set(policy.Rules{Hosts: []string{"prod.example"}})
	if answer := p.askCertificate(certificateRequest(t, p)); codeOf(answer.Error) != wire.CodePolicyDenied {
		t.Errorf("a certificate of a key for one server: %v", answer.Error)
	}
	if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Hours = "x" }); err == nil {
		t.Error("took rules that cannot be kept")
	}
	if id, err = p.Identities.Find("work"); err != nil || len(id.Rules.Hosts) != 1 || id.Rules.Hours != "" {
		t.Errorf("rules %+v, %v", id.Rules, err)
	}
}
