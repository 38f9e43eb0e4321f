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
	"vmux/internal/testkit"
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
	for name, attack := range map[string]func(p *phone, id Identity, n int){
		"refused by the key's rules": func(p *phone, id Identity, n int) {
			r := p.request(id)
			r.Context = wire.Context{HostName: long(n), Programs: []string{long(n), long(n)}}
			p.ask(p.t.Context(), r)
		},
		"keys that there are not": func(p *phone, id Identity, n int) {
			r := p.request(id)
			r.PublicKeyBlob = fmt.Append(nil, long(n))
			p.ask(p.t.Context(), r)
		},
		"algorithms that there are not": func(p *phone, id Identity, n int) {
			r := p.request(id)
			r.KeyAlgorithm = long(n)
			p.ask(p.t.Context(), r)
		},
		"malformed": func(p *phone, id Identity, n int) {
			r := p.request(id)
			r.Nonce = nil
			p.ask(p.t.Context(), r)
		},
		"under other names": func(p *phone, id Identity, n int) {
			p.computer.Name = wire.Clean(long(n))
			r := p.request(id)
			r.SourceDeviceID = long(n)
			p.ask(p.t.Context(), r)
		},
		"from other times": func(p *phone, id Identity, n int) {
			r := p.request(id)
			r.IssuedAtMilliseconds -= int64(n+200) * 1000
			r.ExpiresAtMilliseconds -= int64(n+200) * 1000
			p.ask(p.t.Context(), r)
		},
		"certificates": func(p *phone, id Identity, n int) {
			r := certificateRequest(p.t, p)
			r.Principals = []string{fmt.Sprint("user", n)}
			p.askCertificate(r)
		},
		"withdrawn": func(p *phone, id Identity, n int) {
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
		"expired": func(p *phone, id Identity, n int) {
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
				if _, err := p.SetRules(id, func(r *Rules) { r.Users = []string{"nobody"} }); err != nil {
					t.Fatal(err)
				}
				before, err := p.Activity()
				if err != nil {
					t.Fatal(err)
				}
				home := p.computer
				for n := range attempts {
					attack(p, id, n)
				}
				p.computer, p.approver.Sign = home, approve
				p.ask(t.Context(), p.request(other))
				after, err := p.Activity()
				if err != nil {
					t.Fatal(err)
				}
				var kept []Record
				counted := 0
				for _, r := range after {
					if r.merges() {
						counted += r.Times()
						continue
					}
					kept = append(kept, r)
				}
				if len(kept) != len(before)+1 || !slices.EqualFunc(kept[:len(before)], before, func(a, b Record) bool { return a.Prev == b.Prev && a.Decision == b.Decision }) {
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
				if r, err := p.VerifyActivity(); err != nil || len(r.Problems) > 0 || r.Records != len(after) {
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
		for _, id := range []Identity{work, git} {
			if _, err := p.SetRules(id, func(r *Rules) { r.Users = []string{"nobody"} }); err != nil {
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
		want := []Asked{
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
		for id, want := range map[*Identity]int{&work: 7, &git: 1} {
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
	if doc := must(p.cfg.Store.Get("activity-refused-head.json")); len(doc) > first+maxAsked*4*wire.MaxNameSize {
		t.Errorf("%d bytes for a record", len(doc))
	}
}

// attacker: has a grant for an hour, and uses it without end. What it was given stands
// in the log, but pushes out nothing that a person has decided.
func TestGrantPushesNothingOut(t *testing.T) {
	prod := newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p, id := granting(t, 15*time.Minute)
		if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil {
			t.Fatal(err)
		}
		before := len(p.requests())
		p.books.granted.limit = 64 << 10 // so that it is full at once
		for range 500 {
			if err := p.askLogin(id, login(id, sessionID(1), "root", &prod), ""); err != nil {
				t.Fatal(err)
			}
		}
		approved, granted := 0, 0
		for _, r := range p.requests() {
			if r.Grant {
				granted++
			} else {
				approved++
			}
		}
		report, err := p.VerifyActivity()
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		dropped := report.Logs[1].Dropped
		if approved != before || dropped == nil || dropped.Kinds["sign approved"]+granted != 500 || report.Logs[0].Dropped != nil {
			t.Errorf("%d of %d approvals, %d by the grant, dropped %+v", approved, before, granted, dropped)
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

// A crash between any two steps of writing refusals loses none that was written, and
// counts none twice: neither while they are merged, nor where they become lines, nor
// where the log turns over.
func TestRefusalsSurviveACrashAtEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := func(s *Signer, computer int) error {
			return s.record(Record{Kind: "sign", DeviceID: fmt.Sprint(computer), Decision: "refused", Code: wire.CodeKeyNotFound})
		}
		for steps := range 12 {
			store := &testkit.Documents{}
			s, _ := New(Config{Store: store})
			s.books.refused.limit = 600 // two records of a minute each
			wrote := 0
			for range 5 {
				for computer := range 2 {
					for range 3 {
						if err := refused(s, computer); err != nil {
							t.Fatal(err)
						}
						wrote++
					}
				}
				time.Sleep(time.Minute)
			}
			left := steps
			dying, _ := New(Config{Store: failing{store, &left}})
			dying.books.refused.limit = 600
			for n := range 4 {
				if refused(dying, n%2) != nil {
					break
				}
				wrote++
				time.Sleep(30 * time.Second)
			}
			s, _ = New(Config{Store: store})
			s.books.refused.limit = 600
			check := func(when string, want int) {
				t.Helper()
				report := verify(t, store)
				counted := 0
				if d := report.Logs[2].Dropped; d != nil {
					counted = d.Kinds["sign refused"]
				}
				records, err := s.Activity()
				if err != nil {
					t.Fatal(err)
				}
				first := report.Logs[2].First
				for _, r := range records {
					if d := report.Logs[2].Dropped; d == nil || r.Seq == 0 || r.Seq > d.Records {
						counted += r.Times()
					}
				}
				if len(report.Problems) > 0 || counted < want || counted > want+1 { // the last may be there
					t.Errorf("killed after %d steps, %s: %d counted, want %d; first %d; %+v", steps, when, counted, want, first, report)
				}
			}
			check("at once", wrote)
			if err := refused(s, 0); err != nil {
				t.Fatal(err)
			}
			check("then written on", wrote+1)
		}
	})
}
