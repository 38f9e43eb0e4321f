package signer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// attacker: a paired computer has thousands of requests refused, to push what it was
// given out of the log. It chooses every text that it can, and comes by every way in
// which a request ends without a person.
func TestRefusalsPushNothingOut(t *testing.T) {
	const attempts = 400 // unmerged, some 200 KB
	long := func(n int) string { return fmt.Sprintf("%d%s", n, strings.Repeat("<&", 120)) }
	expired := func(ctx context.Context, _ SignSheet) (SignDecision, error) {
		<-ctx.Done()
		return SignDecision{}, ctx.Err()
	}
	for name, attack := range map[string]func(p *phone, id identity.Identity, n int){
		"refused by the key's rules": func(p *phone, id identity.Identity, n int) {
			r := p.request(id)
			r.Context = wire.Context{HostName: long(n), Programs: []string{long(n), long(n)}}
			p.ask(p.t.Context(), r)
		},
		"keys that there are not": func(p *phone, id identity.Identity, n int) {
			r := p.request(id)
			r.PublicKeyBlob = fmt.Append(nil, long(n))
			p.ask(p.t.Context(), r)
		},
		"algorithms that there are not": func(p *phone, id identity.Identity, n int) {
			r := p.request(id)
			r.KeyAlgorithm = long(n)
			p.ask(p.t.Context(), r)
		},
		"malformed": func(p *phone, id identity.Identity, n int) {
			r := p.request(id)
			r.Nonce = nil
			p.ask(p.t.Context(), r)
		},
		"under other names": func(p *phone, id identity.Identity, n int) {
			p.computer.Name = wire.Clean(long(n))
			r := p.request(id)
			r.SourceDeviceID = long(n)
			p.ask(p.t.Context(), r)
		},
		"from other times": func(p *phone, id identity.Identity, n int) {
			r := p.request(id)
			r.IssuedAtMilliseconds -= int64(n+200) * 1000
			r.ExpiresAtMilliseconds -= int64(n+200) * 1000
			p.ask(p.t.Context(), r)
		},
		"certificates": func(p *phone, id identity.Identity, n int) {
			r := certificateRequest(p.t, p)
			r.Principals = []string{fmt.Sprint("user", n)}
			p.askCertificate(r)
		},
		"withdrawn": func(p *phone, id identity.Identity, n int) {
			ctx, cancel := context.WithCancel(p.t.Context())
			p.approver.Sign = func(ctx context.Context, s SignSheet) (SignDecision, error) {
				cancel()
				return expired(ctx, s)
			}
			r := p.request(p.other)
			r.Context.HostName = long(n)
			p.ask(ctx, r)
			cancel()
		},
		"expired": func(p *phone, id identity.Identity, n int) {
			p.approver.Sign = expired
			r := p.request(p.other)
			r.Context.HostName = long(n)
			r.ExpiresAtMilliseconds = r.IssuedAtMilliseconds + 10
			p.ask(p.t.Context(), r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPhone(t)
				id, other := p.create("work", "ssh-ed25519"), p.create("other", "ssh-ed25519")
				p.other = other
				p.createCA("root")
				p.ask(t.Context(), p.request(id))
				approve := p.approver.Sign
				if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Users = []string{"nobody"} }); err != nil {
					t.Fatal(err)
				}
				before, err := p.Activity.Records()
				if err != nil {
					t.Fatal(err)
				}
				home := p.computer
				for n := range attempts {
					attack(p, id, n)
				}
				p.computer, p.approver.Sign = home, approve
				p.ask(t.Context(), p.request(other))
				after, err := p.Activity.Records()
				if err != nil {
					t.Fatal(err)
				}
				var kept []activity.Record
				counted := 0
				for _, r := range after {
					if r.Log == "refused" || r.Seq == 0 {
						counted += r.Times()
						continue
					}
					kept = append(kept, r)
				}
				if len(kept) != len(before)+1 || !slices.EqualFunc(kept[:len(before)], before, func(a, b activity.Record) bool { return a.Prev == b.Prev && a.Decision == b.Decision }) {
					t.Errorf("%d records of decisions, want those %d from before and one more", len(kept), len(before))
				}
				if counted != attempts || len(after)-len(kept) > 2 {
					t.Errorf("%d requests in %d records of refusals, want %d in one or two", counted, len(after)-len(kept), attempts)
				}
				size := 0
				for _, doc := range []string{"activity-refused.jsonl", "activity-refused-head.json"} {
					b, _ := p.cfg.Store.Get(doc)
					size += len(b)
				}
				if size > 32<<10 {
					t.Errorf("they take up %d bytes", size)
				}
				if r, err := p.Activity.Verify(); err != nil || len(r.Problems) > 0 || r.Records != len(after) {
					t.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}

// What a merged record keeps: how many, from when until when, what they asked for,
// and how often the rules of each key refused.
func TestMergedRefusals(t *testing.T) {
	prod, home := newServer(t), newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		work, git := p.create("work", "ssh-ed25519"), p.create("git", "ssh-ed25519")
		for _, id := range []identity.Identity{work, git} {
			if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Users = []string{"nobody"} }); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		for n := range 5 {
			_ = p.askLogin(work, login(work, sessionID(byte(n)), "root", &prod), "prod")
			time.Sleep(time.Second)
		}
		_ = p.askLogin(git, login(git, sessionID(9), "git", &home), "home")
		mine := p.computer
		p.computer = device.Peer{ID: device.ID{7}, Name: wire.Clean("other")}
		_ = p.askLogin(work, login(work, sessionID(10), "root", &prod), "prod")
		p.computer = mine
		time.Sleep(time.Minute)
		_ = p.askLogin(work, login(work, sessionID(11), "root", &prod), "prod")

		list := p.requests()
		if len(list) != 3 {
			t.Fatalf("%d records: %+v", len(list), list)
		}
		first, second, third := list[0], list[1], list[2]
		want := []activity.Asked{
			{What: wire.Clean("root@prod (claimed)"), Server: wire.Clean(prod.fingerprint()), Times: 5},
			{What: wire.Clean("git@home (claimed)"), Server: wire.Clean(home.fingerprint()), Times: 1},
		}
		if first.Times() != 6 || first.Reason != reasonRules || !slices.Equal(first.Asked, want) || first.Seq != 1 ||
			!first.Time.Equal(start) || !first.Last().Equal(start.Add(5*time.Second)) || first.Label.String() != "work" || len(first.Lines) == 0 {
			t.Errorf("got %+v", first)
		}
		if second.DeviceName.String() != "other" || second.Times() != 1 || second.Seq != 2 {
			t.Errorf("of the other computer: %+v", second)
		}
		if third.Times() != 1 || third.Seq != 0 || third.DeviceName.String() != "laptop" {
			t.Errorf("of the next minute: %+v", third)
		}
		for id, want := range map[*identity.Identity]int{&work: 7, &git: 1} {
			n := 0
			for _, r := range list {
				n += id.RefusedByRules(r)
			}
			if n != want {
				t.Errorf("%s: %d refused by its rules, want %d", id.Label, n, want)
			}
		}
	})
}

// What a merged record keeps of each request is short, whatever was asked for: it is
// written anew with each refusal.
func TestMergedRefusalsAreSmall(t *testing.T) {
	p := newPhone(t)
	p.create("work", "ssh-ed25519")
	p.createCA("root")
	for n := range 12 {
		r := certificateRequest(t, p)
		for i := range wire.MaxPrincipals {
			r.Principals = append(r.Principals, fmt.Sprint(n, i, strings.Repeat("x", 240)))
		}
		if answer := p.askCertificate(r); answer.Error == nil {
			t.Fatal("it was issued")
		}
	}
	const first = wire.MaxPrincipals * wire.MaxNameSize
	if doc := must(p.cfg.Store.Get("activity-refused-head.json")); len(doc) > first+8*4*wire.MaxNameSize {
		t.Errorf("%d bytes for a record", len(doc))
	}
}

// attacker: has a grant for an hour, and uses it without end. What it was given stands
// in a log of its own, which pushes out nothing that a person has decided: see package
// activity.
func TestGrantPushesNothingOut(t *testing.T) {
	prod := newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p, id := granting(t, 15*time.Minute)
		if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil {
			t.Fatal(err)
		}
		before := len(p.requests())
		for range 50 {
			if err := p.askLogin(id, login(id, sessionID(1), "root", &prod), ""); err != nil {
				t.Fatal(err)
			}
		}
		approved, granted := 0, 0
		for _, r := range p.requests() {
			if r.Log == "granted" {
				granted++
			} else {
				approved++
			}
		}
		if approved != before || granted != 50 {
			t.Errorf("%d of %d approvals, %d by the grant", approved, before, granted)
		}
	})
}

// One tap that denies many requests is one record of a denial.
func TestJoinedDenialsAreMerged(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	joined := false
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{Joined: joined}, nil }
	p.ask(t.Context(), p.request(id))
	joined = true
	for range 40 {
		p.ask(t.Context(), p.request(id))
	}
	list, denied := p.requests(), 0
	for _, r := range list {
		if r.Decision == "denied" {
			denied += r.Times()
		}
	}
	if len(list) > 3 || denied != 41 { // a minute may end meanwhile
		t.Errorf("%d denials in %d records", denied, len(list))
	}
}
