package signer

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

func TestRules(t *testing.T) {
	prod, other := []byte("prod's key"), []byte("other key")
	at := func(d Destination) Destination {
		if d.Memory == "" {
			d.Memory = HostFirst
		}
		return d
	}
	login := func(user string, d Destination, claimed string) SignSheet {
		kind := sshctx.UserAuth
		if d.HostKey != nil {
			kind = sshctx.HostBound
		}
		return SignSheet{
			Known:   sshctx.Context{Kind: kind, User: user, HostKey: d.HostKey},
			Claimed: wire.Context{HostName: claimed}, Destination: d,
		}
	}
	sshsig := func(namespace string) SignSheet {
		return SignSheet{Known: sshctx.Context{Kind: sshctx.SSHSIG, Namespace: namespace}}
	}
	known := Destination{HostKey: prod, Memory: HostKnown, Names: []string{"prod.example"}}
	through := known
	through.Via = []Hop{{HostKey: other}}
	thursday := time.Date(2026, 11, 26, 9, 30, 0, 0, time.Local)
	saturday := time.Date(2026, 11, 28, 9, 30, 0, 0, time.Local)
	night := time.Date(2026, 11, 28, 1, 0, 0, 0, time.Local) // the night after Friday
	for _, test := range []struct {
		name    string
		rules   Rules
		sheet   SignSheet
		now     time.Time
		refused string // part of the message; empty: allowed
	}{
		{name: "no rules", sheet: login("root", known, "")},
		{name: "fingerprint", rules: Rules{Hosts: []string{sshctx.Fingerprint(prod)}}, sheet: login("root", known, "")},
		{name: "remembered name", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", known, "")},
		{name: "claimed name at first", rules: Rules{Hosts: []string{"new.example"}}, sheet: login("root", at(Destination{HostKey: other}), "new.example")},
		{
			name: "claimed name of another key", rules: Rules{Hosts: []string{"prod.example"}}, refused: "no login to SHA256:",
			sheet: login("root", Destination{HostKey: other, Memory: HostChanged}, "prod.example"),
		},
		{
			name: "claimed name of a key with another name", rules: Rules{Hosts: []string{"prod.example"}}, refused: "no login to SHA256:",
			sheet: login("root", Destination{HostKey: other, Memory: HostKnown, Names: []string{"other.example"}}, "prod.example"),
		},
		{name: "another host", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", at(Destination{HostKey: other}), ""), refused: "no login to SHA256:"},
		{name: "an unknown host", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", Destination{}, "prod.example"), refused: "server that is not known"},
		{name: "user", rules: Rules{Users: []string{"deploy"}}, sheet: login("deploy", known, "")},
		{name: "another user", rules: Rules{Users: []string{"deploy"}}, sheet: login("root", known, ""), refused: "no login as root"},
		{name: "no logins", rules: Rules{Forbid: []string{UseLogins}}, sheet: login("root", known, ""), refused: "no logins"},
		{name: "git", rules: Rules{Namespaces: []string{"git"}}, sheet: sshsig("git")},
		{name: "file", rules: Rules{Namespaces: []string{"git"}}, sheet: sshsig("file"), refused: "no signatures for file"},
		{name: "no signatures", rules: Rules{Forbid: []string{UseSignatures}}, sheet: sshsig("git"), refused: "no signatures but logins"},
		{name: "host rules leave signatures alone", rules: Rules{Hosts: []string{"prod.example"}}, sheet: sshsig("git")},
		{name: "unreadable", rules: Rules{Forbid: []string{UseUnknown}}, sheet: SignSheet{}, refused: "cannot read"},
		{name: "unreadable, with host rules", rules: Rules{Hosts: []string{"prod.example"}}, sheet: SignSheet{}, refused: "cannot read"},
		{name: "unreadable, no rules", sheet: SignSheet{}},
		{name: "forwarded", sheet: login("root", through, "")},
		{name: "never forwarded", rules: Rules{Forbid: []string{UseForwarded}}, sheet: login("root", through, ""), refused: "through another server"},
		{name: "not forwarded", rules: Rules{Forbid: []string{UseForwarded}}, sheet: login("root", known, "")},
		{name: "in hours", rules: Rules{Hours: "mon-fri 08:00-18:00"}, sheet: sshsig("git"), now: thursday},
		{name: "another day", rules: Rules{Hours: "mon-fri 08:00-18:00"}, sheet: sshsig("git"), now: saturday, refused: "only mon-fri 08:00-18:00"},
		{name: "out of hours", rules: Rules{Hours: "10:00-18:00"}, sheet: sshsig("git"), now: thursday, refused: "only 10:00"},
		{name: "at the end of hours", rules: Rules{Hours: "08:00-09:30"}, sheet: sshsig("git"), now: thursday, refused: "only"},
		{name: "overnight", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: night},
		{name: "another night", rules: Rules{Hours: "sat 22:00-06:00"}, sheet: sshsig("git"), now: night, refused: "only"},
	} {
		err := test.rules.allow(Identity{Label: "work"}, test.sheet, test.now)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.refused != "" && (!errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%s: %v, want %q", test.name, err, test.refused)
		}
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
		if _, err := p.SetRules(id, func(r *Rules) { r.Hosts = test.hosts }); err != nil {
			t.Fatal(err)
		}
		list, err := p.KeyList()
		if err != nil || len(list.Keys) != 1 || !slices.Equal(list.Keys[0].Hosts, test.told) || list.Check() != nil {
			t.Errorf("rules %q: %+v, %v", test.hosts, list, err)
		}
	}
}

func TestRulesThatCannotBeKept(t *testing.T) {
	for _, r := range []Rules{
		{Hosts: []string{""}}, {Hosts: []string{"a b"}}, {Users: []string{"a\x1b"}}, {Namespaces: []string{"a,b"}},
		{Forbid: []string{"everything"}}, {Hours: "always"}, {Hours: "08:00"}, {Hours: "25:00-26:00"}, {Hours: "mon-fri"},
		{Hours: "08:00-08:00"}, {Hours: "monday 08:00-09:00"}, {Hosts: make([]string, maxPolicyList+1)},
	} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
	}
}

// A rule is applied before anybody is asked, to certificates as well, and is
// told to the computer.
func TestRulesDisturbNobody(t *testing.T) {
	p := newPhone(t)
	p.createCA("root", "deploy")
	id := p.create("work", "ssh-ed25519")
	set := func(r Rules) {
		t.Helper()
		if _, err := p.SetRules(id, func(old *Rules) { *old = r }); err != nil {
			t.Fatal(err)
		}
	}
	set(Rules{Users: []string{"deploy"}})
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
	set(Rules{Hosts: []string{"prod.example"}})
	if answer := p.askCertificate(certificateRequest(t, p)); codeOf(answer.Error) != wire.CodePolicyDenied {
		t.Errorf("a certificate of a key for one server: %v", answer.Error)
	}
	if _, err := p.SetRules(id, func(r *Rules) { r.Hours = "x" }); err == nil {
		t.Error("took rules that cannot be kept")
	}
	if id, err = p.Find("work"); err != nil || len(id.Rules.Hosts) != 1 || id.Rules.Hours != "" {
		t.Errorf("rules %+v, %v", id.Rules, err)
	}
}

func FuzzHours(f *testing.F) {
	f.Add("mon-fri 08:00-18:00")
	f.Add("22:00-06:00")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHours(text)
		if err == nil && text != "" && !h.set {
			t.Errorf("%q is read as always", text)
		}
		h.contains(time.Now())
	})
}
