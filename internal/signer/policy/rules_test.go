package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

func TestRules(t *testing.T) {
	prod, other := []byte("prod's key"), []byte("other key")
	at := func(d hosts.Destination) hosts.Destination {
		if d.Memory == "" {
			d.Memory = hosts.First
		}
		return d
	}
	login := func(user string, d hosts.Destination, claimed string) Signature {
		kind := sshctx.UserAuth
		if d.HostKey != nil {
			kind = sshctx.HostBound
		}
		return Signature{
			Known:    sshctx.Context{Kind: kind, User: user, HostKey: d.HostKey},
			HostName: wire.Clean(claimed), Destination: d,
		}
	}
	plain := func(user string, d hosts.Destination, claimed string) Signature {
		s := login(user, d, claimed)
		s.Known.Kind, s.Known.HostKey = sshctx.UserAuth, nil
		return s
	}
	sshsig := func(namespace string) Signature {
		return Signature{Known: sshctx.Context{Kind: sshctx.SSHSIG, Namespace: namespace}}
	}
	sudo := func(via ...hosts.Hop) Signature {
		return Signature{Known: sshctx.Context{Kind: sshctx.Sudo, User: "root", Challenge: &sshctx.Challenge{Host: "web.example"}}, Destination: hosts.Destination{Via: via}}
	}
	web := hosts.Hop{HostKey: prod, Names: []wire.Text{wire.Clean("web.example")}}
	db := hosts.Hop{HostKey: other, Names: []wire.Text{wire.Clean("db.example")}}
	known := hosts.Destination{HostKey: prod, Memory: hosts.Known, Names: []wire.Text{wire.Clean("prod.example")}}
	through := known
	through.Via = []hosts.Hop{{HostKey: other}}
	thursday := time.Date(2026, 11, 26, 9, 30, 0, 0, time.Local)
	saturday := time.Date(2026, 11, 28, 9, 30, 0, 0, time.Local)
	tokyo := time.FixedZone("Asia/Tokyo", 9*60*60)
	east := time.Date(2026, 11, 26, 8, 0, 0, 0, tokyo)
	friday := func(hour, minute int) time.Time { return time.Date(2026, 11, 27, hour, minute, 0, 0, time.UTC) }
	night := time.Date(2026, 11, 28, 1, 0, 0, 0, time.Local) // the night after Friday
	for _, test := range []struct {
		name    string
		rules   Rules
		sheet   Signature
		now     time.Time
		refused string // part of the message; empty: allowed
	}{
		{name: "no rules", sheet: login("root", known, "")},
		{name: "fingerprint", rules: Rules{Hosts: []string{sshctx.Fingerprint(prod)}}, sheet: login("root", known, "")},
		{name: "fingerprint, and the bytes do not name the server", rules: Rules{Hosts: []string{sshctx.Fingerprint(prod)}}, sheet: plain("root", known, "prod.example"), refused: "that does not name it in what is signed"},
		{name: "fingerprint, of an old server", rules: Rules{Hosts: []string{sshctx.Fingerprint(prod)}, OldServers: true}, sheet: plain("root", known, "prod.example")},
		{name: "fingerprint of another, of an old server", rules: Rules{Hosts: []string{sshctx.Fingerprint(other)}, OldServers: true}, sheet: plain("root", known, ""), refused: "no login to SHA256:"},
		{name: "fingerprint, nothing proven, of an old server", rules: Rules{Hosts: []string{sshctx.Fingerprint(prod)}, OldServers: true}, sheet: plain("root", hosts.Destination{}, ""), refused: "server that is not known"},
		{name: "remembered name, and the bytes do not name the server", rules: Rules{Hosts: []string{"prod.example"}}, sheet: plain("root", known, "prod.example")},
		{name: "remembered name", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", known, "")},
		{name: "claimed name at first", rules: Rules{Hosts: []string{"new.example"}}, sheet: login("root", at(hosts.Destination{HostKey: other}), "new.example")},
		{
			name: "claimed name of another key", rules: Rules{Hosts: []string{"prod.example"}}, refused: "another host key than those of prod.example",
			sheet: login("root", hosts.Destination{HostKey: other, Memory: hosts.Changed}, "prod.example"),
		},
		{
			name: "claimed name of a key with another name", rules: Rules{Hosts: []string{"prod.example"}}, refused: "no login to SHA256:",
			sheet: login("root", hosts.Destination{HostKey: other, Memory: hosts.Known, Names: []wire.Text{wire.Clean("other.example")}}, "prod.example"),
		},
		{name: "another host", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", at(hosts.Destination{HostKey: other}), ""), refused: "no login to SHA256:"},
		{name: "an alias", rules: Rules{Hosts: []string{"box"}}, sheet: login("root", known, "[192.0.2.1]:2222"), refused: ", which the computer calls [192.0.2.1]:2222"},
		{name: "an unknown host", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", hosts.Destination{}, "prod.example"), refused: "server that is not known"},
		{name: "user", rules: Rules{Users: []string{"deploy"}}, sheet: login("deploy", known, "")},
		{name: "another user", rules: Rules{Users: []string{"deploy"}}, sheet: login("root", known, ""), refused: "no login as root"},
		{name: "no logins", rules: Rules{Forbid: []string{UseLogins}}, sheet: login("root", known, ""), refused: "no logins"},
		{name: "git", rules: Rules{Namespaces: []string{"git"}}, sheet: sshsig("git")},
		{name: "file", rules: Rules{Namespaces: []string{"git"}}, sheet: sshsig("file"), refused: "no signatures for file"},
		{name: "no signatures", rules: Rules{Forbid: []string{UseSignatures}}, sheet: sshsig("git"), refused: "no signatures but logins"},
		{name: "host rules leave signatures alone", rules: Rules{Hosts: []string{"prod.example"}}, sheet: sshsig("git")},
		{name: "unreadable", rules: Rules{Forbid: []string{UseUnknown}}, sheet: Signature{}, refused: "cannot read"},
		{name: "unreadable, with host rules", rules: Rules{Hosts: []string{"prod.example"}}, sheet: Signature{}, refused: "cannot read"},
		{name: "unreadable, no rules", sheet: Signature{}},
		{name: "forwarded", sheet: login("root", through, "")},
		{name: "never forwarded", rules: Rules{Forbid: []string{UseForwarded}}, sheet: login("root", through, ""), refused: "through another server"},
		{name: "not forwarded", rules: Rules{Forbid: []string{UseForwarded}}, sheet: login("root", known, "")},
		{name: "sudo, no rules", sheet: sudo()},
		{name: "sudo, through a server, no rules", sheet: sudo(db)},
		{name: "no sudo", rules: Rules{Forbid: []string{UseSudo}}, sheet: sudo(), refused: "no sudo"},
		{name: "no sudo, on a server that may", rules: Rules{Forbid: []string{UseSudo}, Sudo: []string{"web.example"}}, sheet: sudo(web), refused: "no sudo"},
		{name: "sudo, with host rules", rules: Rules{Hosts: []string{"web.example"}}, sheet: sudo(web), refused: "no sudo"},
		{name: "sudo, with users", rules: Rules{Users: []string{"root"}}, sheet: sudo(), refused: "no sudo"},
		{name: "sudo, with namespaces", rules: Rules{Namespaces: []string{"git"}}, sheet: sudo(), refused: "no sudo"},
		{name: "sudo, where nothing that cannot be read is signed", rules: Rules{Forbid: []string{UseUnknown}}, sheet: sudo(), refused: "no sudo"},
		{name: "sudo, where there are no logins", rules: Rules{Forbid: []string{UseLogins}}, sheet: sudo()},
		{name: "sudo on a server by name", rules: Rules{Sudo: []string{"web.example"}}, sheet: sudo(web)},
		{name: "sudo on a server by fingerprint", rules: Rules{Sudo: []string{sshctx.Fingerprint(prod)}}, sheet: sudo(web)},
		{name: "sudo on a server, with host rules", rules: Rules{Hosts: []string{"db.example"}, Sudo: []string{"web.example"}}, sheet: sudo(web)},
		{name: "sudo on another server, which calls itself so", rules: Rules{Sudo: []string{"web.example"}}, sheet: sudo(db), refused: "no sudo through SHA256:"},
		{name: "sudo by way of another server", rules: Rules{Sudo: []string{"web.example"}}, sheet: sudo(db, web), refused: "no sudo through SHA256:"},
		{name: "sudo through two servers that may", rules: Rules{Sudo: []string{"web.example", "db.example"}}, sheet: sudo(db, web)},
		{name: "sudo on a server that is not proven", rules: Rules{Sudo: []string{sshctx.Fingerprint(prod)}}, sheet: sudo(hosts.Hop{HostKey: prod, Unproven: true}), refused: "no sudo through"},
		{name: "sudo on a server, asked by who is not one", rules: Rules{Sudo: []string{"web.example"}}, sheet: sudo(), refused: "no sudo but on servers"},
		{name: "sudo on a server, never forwarded", rules: Rules{Sudo: []string{"web.example"}, Forbid: []string{UseForwarded}}, sheet: sudo(web), refused: "through another server"},
		{name: "sudo servers leave logins alone", rules: Rules{Sudo: []string{"web.example"}}, sheet: login("root", known, "")},
		{name: "sudo out of hours", rules: Rules{Hours: "10:00-18:00"}, sheet: sudo(), now: thursday, refused: "only 10:00"},
		{name: "in hours", rules: Rules{Hours: "mon-fri 08:00-18:00"}, sheet: sshsig("git"), now: thursday},
		{name: "another day", rules: Rules{Hours: "mon-fri 08:00-18:00"}, sheet: sshsig("git"), now: saturday, refused: "only mon-fri 08:00-18:00"},
		{name: "out of hours", rules: Rules{Hours: "10:00-18:00"}, sheet: sshsig("git"), now: thursday, refused: "only 10:00"},
		{name: "at the end of hours", rules: Rules{Hours: "08:00-09:30"}, sheet: sshsig("git"), now: thursday, refused: "only"},
		{name: "several hosts", rules: Rules{Hosts: []string{"web.example", "prod.example"}}, sheet: login("root", known, "")},
		{name: "a fingerprint of another", rules: Rules{Hosts: []string{sshctx.Fingerprint(other)}}, sheet: login("root", known, "prod.example"), refused: "no login to SHA256:"},
		{name: "a name is not a part of one", rules: Rules{Hosts: []string{"prod"}}, sheet: login("root", known, "prod"), refused: "no login to SHA256:"},
		{name: "through another, to the host", rules: Rules{Hosts: []string{"prod.example"}}, sheet: login("root", through, "")},
		{name: "through the host, to another", rules: Rules{Hosts: []string{sshctx.Fingerprint(other)}}, sheet: login("root", through, ""), refused: "no login to SHA256:"},
		{name: "several users", rules: Rules{Users: []string{"deploy", "root"}}, sheet: login("root", known, "")},
		{name: "users in another case", rules: Rules{Users: []string{"Root"}}, sheet: login("root", known, ""), refused: "no login as root"},
		{name: "user and host, the host is another", rules: Rules{Users: []string{"root"}, Hosts: []string{"web.example"}}, sheet: login("root", known, ""), refused: "no login to SHA256:"},
		{name: "user and host, the user is another", rules: Rules{Users: []string{"deploy"}, Hosts: []string{"prod.example"}}, sheet: login("root", known, ""), refused: "no login as root"},
		{name: "users leave signatures alone", rules: Rules{Users: []string{"deploy"}}, sheet: sshsig("git")},
		{name: "namespaces leave logins alone", rules: Rules{Namespaces: []string{"git"}}, sheet: login("root", known, "")},
		{name: "several namespaces", rules: Rules{Namespaces: []string{"git", "file"}}, sheet: sshsig("file")},
		{name: "a namespace is not a part of one", rules: Rules{Namespaces: []string{"git"}}, sheet: sshsig("git@evil"), refused: "no signatures for git@evil"},
		{name: "unreadable, with users", rules: Rules{Users: []string{"root"}}, sheet: Signature{}, refused: "cannot read"},
		{name: "unreadable, with namespaces", rules: Rules{Namespaces: []string{"git"}}, sheet: Signature{}, refused: "cannot read"},
		{name: "a signature through another server", rules: Rules{Forbid: []string{UseForwarded}}, sheet: Signature{
			Known: sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git"}, Destination: hosts.Destination{Via: through.Via},
		}, refused: "through another server"},
		{name: "unreadable, through another server", rules: Rules{Forbid: []string{UseForwarded}}, sheet: Signature{Destination: hosts.Destination{Via: through.Via}}, refused: "through another server"},
		{name: "hours over midnight, at their beginning", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(22, 0)},
		{name: "hours over midnight, just before", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(21, 59), refused: "only fri"},
		{name: "hours over midnight, at the last minute", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(24+5, 59)},
		{name: "hours over midnight, at their end", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(24+6, 0), refused: "only fri"},
		{name: "hours over midnight, the next evening", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(24+22, 0), refused: "only fri"},
		{name: "hours over midnight, the morning of that day", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: friday(5, 0), refused: "only fri"},
		{name: "hours until midnight", rules: Rules{Hours: "fri 22:00-00:00"}, sheet: sshsig("git"), now: friday(23, 59)},
		{name: "hours until midnight, at midnight", rules: Rules{Hours: "fri 22:00-00:00"}, sheet: sshsig("git"), now: friday(24, 0), refused: "only fri"},
		{name: "days over the week's end", rules: Rules{Hours: "fri-mon 08:00-18:00"}, sheet: sshsig("git"), now: friday(3*24+9, 0)},
		{name: "days over the week's end, past them", rules: Rules{Hours: "fri-mon 08:00-18:00"}, sheet: sshsig("git"), now: friday(4*24+9, 0), refused: "only fri-mon"},
		{name: "hours in this time zone", rules: Rules{Hours: "08:00-18:00"}, sheet: sshsig("git"), now: east},
		{name: "the same moment in another time zone", rules: Rules{Hours: "08:00-18:00"}, sheet: sshsig("git"), now: east.UTC(), refused: "only 08:00"},
		{name: "the day of this time zone", rules: Rules{Hours: "sat 00:00-08:00"}, sheet: sshsig("git"), now: friday(22, 0).In(tokyo)},
		{name: "overnight", rules: Rules{Hours: "fri 22:00-06:00"}, sheet: sshsig("git"), now: night},
		{name: "another night", rules: Rules{Hours: "sat 22:00-06:00"}, sheet: sshsig("git"), now: night, refused: "only"},
	} {
		err := test.rules.Allow("work", test.sheet, test.now)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.refused != "" && (!errors.Is(err, wire.NewError(wire.CodePolicyDenied)) || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%s: %v, want %q", test.name, err, test.refused)
		}
	}
}

func TestRulesForCertificates(t *testing.T) {
	thursday := time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		name       string
		rules      Rules
		principals []string
		refused    string
	}{
		{name: "no rules", principals: []string{"root"}},
		{name: "users", rules: Rules{Users: []string{"root", "deploy"}}, principals: []string{"root"}},
		{name: "one of two is another user", rules: Rules{Users: []string{"root"}}, principals: []string{"root", "deploy"}, refused: "no login as deploy"},
		{name: "no certificates", rules: Rules{Forbid: []string{UseCertificates}}, principals: []string{"root"}, refused: "no session certificates"},
		{name: "no logins", rules: Rules{Forbid: []string{UseLogins}}, principals: []string{"root"}, refused: "no session certificates"},
		{name: "certain servers", rules: Rules{Hosts: []string{"prod.example"}}, principals: []string{"root"}, refused: "limited to certain servers"},
		{name: "other uses", rules: Rules{Forbid: []string{UseSignatures, UseUnknown, UseForwarded}, Namespaces: []string{"git"}}, principals: []string{"root"}},
		{name: "in hours", rules: Rules{Hours: "thu 09:30-10:00"}, principals: []string{"root"}},
		{name: "out of hours", rules: Rules{Hours: "thu 09:31-10:00"}, principals: []string{"root"}, refused: "only thu"},
	} {
		err := test.rules.AllowCertificate("work", test.principals, thursday)
		if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.refused)
		}
	}
}

func TestRulesThatCannotBeKept(t *testing.T) {
	for _, r := range []Rules{
		{Hosts: []string{""}}, {Hosts: []string{"a b"}}, {Users: []string{"a\x1b"}}, {Namespaces: []string{"a,b"}},
		{Sudo: []string{"a b"}}, {Forbid: []string{"everything"}}, {Hours: "always"}, {Hours: "08:00"}, {Hours: "25:00-26:00"}, {Hours: "mon-fri"},
		{Hours: "08:00-08:00"}, {Hours: "monday 08:00-09:00"}, {Hosts: make([]string, maxList+1)},
	} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
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

// Each part of a policy that is changed leaves a record: one that none tells of could be
// loosened unseen.
func TestEachChangeOfAPolicyIsSaid(t *testing.T) {
	each := func(policy any, changed func(reflect.Value) string) {
		v := reflect.New(reflect.TypeOf(policy)).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int64:
				f.SetInt(60)
			case reflect.String:
				f.SetString("x")
			default:
				f.Set(reflect.ValueOf([]string{"x"}))
			}
			if changed(v) == "" {
				t.Errorf("%T.%s can be changed without a word", policy, v.Type().Field(i).Name)
			}
			v.SetZero()
		}
	}
	each(Rules{}, func(v reflect.Value) string { return v.Interface().(Rules).ChangeOf(Rules{}) })
	each(Issuing{}, func(v reflect.Value) string { return v.Interface().(Issuing).ChangeOf(Issuing{}) })
}
