package signer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// locking is the ram provider with a lock on each key: it asks for a secret.
type locking struct{ ram }

func (locking) Unattended() bool { return true }

func (l locking) Sign(ctx context.Context, id identity.Identity, data []byte, algorithm string, unlock identity.Unlock) (*ssh.Signature, error) {
	got, err := unlock(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer clear(got)
	if string(got) != string(secret) {
		return nil, wire.NewError(wire.CodeAuthenticationFailed)
	}
	return l.ram.Sign(ctx, id, data, algorithm, unlock)
}

// Whoever is asked for a secret is told which request it is for.
func TestSecretIsAskedForTheRequest(t *testing.T) {
	p := newPhone(t)
	p.cfg.Providers["ram"] = locking{p.keys}
	id := p.create("work", "ssh-ed25519")
	r := p.request(id)
	p.approver.Passphrase = func(_ context.Context, asked PassphraseRequest) ([]byte, error) {
		if asked.RequestID != r.RequestID || asked.From != p.computer.ID {
			t.Errorf("asked for the secret of %+v", asked)
		}
		return bytes.Clone(secret), nil
	}
	p.wantSignature(p.ask(t.Context(), r), id, r)
}

// granting is a phone whose person grants for that long.
func granting(t *testing.T, d time.Duration) (*phone, identity.Identity) {
	p := newPhone(t)
	p.cfg.Providers["ram"] = locking{p.keys}
	if err := p.EnableGrants(true); err != nil {
		t.Fatal(err)
	}
	p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) {
		p.asked, p.sheet = p.asked+1, s
		return SignDecision{Approved: true, Grant: d}, nil
	}
	return p, p.create("work", "ssh-ed25519")
}

// expectAsked makes a request and says whether a person had to be asked.
func (p *phone) expectAsked(name string, want bool, err error, before int) {
	p.t.Helper()
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
	}
	if got := p.asked > before; got != want {
		p.t.Errorf("%s: asked %v, want %v", name, got, want)
	}
}

func TestGrantHoldsForItsTimeAndPurpose(t *testing.T) {
	prod, other := newServer(t), newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p, id := granting(t, 15*time.Minute)
		second := p.create("second", "ssh-ed25519")
		to := func(name string, want bool, id identity.Identity, user string, s *server, bindings ...[]byte) {
			t.Helper()
			before := p.asked
			err := p.askLogin(id, login(id, sessionID(0), user, s), "", bindings...)
			p.expectAsked(name, want, err, before)
		}
		git := func(name string, want bool) {
			t.Helper()
			before := p.asked
			data := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal()
			p.expectAsked(name, want, p.askLogin(id, data, ""), before)
		}
		to("the first", true, id, "root", &prod)
		to("the like of it", false, id, "root", &prod)
		to("another user", true, id, "deploy", &prod)
		to("another server", true, id, "root", &other)
		to("another key", true, second, "root", &prod)
		to("a server that is not known", true, id, "root", nil)
		to("through another server", true, id, "root", &prod, other.bind(t, sessionID(1), true), prod.bind(t, sessionID(0), false))
		for range 2 { // the binding's owner could vouch for a login to any server
			before := p.asked
			err := p.askLogin(id, login(id, sessionID(0), "root", nil), "", prod.bind(t, sessionID(0), false))
			p.expectAsked("bound, but not named by what is signed", true, err, before)
		}
		git("git", true)
		git("git again", false)
		home := p.computer
		p.computer = device.Peer{ID: device.ID{2}, Name: wire.Clean("another")}
		to("another computer", true, id, "root", &prod)
		p.computer = home
		time.Sleep(15*time.Minute - time.Second)
		to("just before its end", false, id, "root", &prod)
		time.Sleep(time.Second)
		to("after its end", true, id, "root", &prod)
		time.Sleep(14 * time.Minute)
		held := p.heldSecrets()
		secret := held[len(held)-1]
		if secret[0] == 0 {
			t.Error("the secret of a grant that holds is wiped")
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if secret[0] != 0 || len(p.heldSecrets()) != 0 {
			t.Error("a grant is over, nobody has asked since, and its secret is still in memory")
		}
		granted := slices.DeleteFunc(p.requests(), func(r activity.Record) bool { return !r.Grant })
		if len(granted) != 3 || granted[0].Decision != "approved" {
			t.Errorf("records of what was granted: %+v", granted)
		}
	})
}

func TestGrantEnds(t *testing.T) {
	prod := newServer(t)
	for name, end := range map[string]func(p *phone) error{
		"on a tap": func(p *phone) error { p.EndGrant(p.Grants()[0].ID); return nil },
		"on lock":  func(p *phone) error { p.EndGrant(""); return nil },
		"switched off where that cannot be stored": func(p *phone) error {
			store := p.cfg.Store
			p.cfg.Store = testkit.Failing{Documents: store.(*testkit.Documents), Left: new(int)}
			err := p.EnableGrants(false)
			p.cfg.Store = store
			if err == nil {
				return errors.New("stored")
			}
			return nil
		},
		"its computer is unpaired": func(p *phone) error {
			if p.EndGrantsOf(device.ID{99}); len(p.heldSecrets()) != 1 {
				t.Errorf("another computer's end: %d held", len(p.heldSecrets()))
			}
			p.EndGrantsOf(p.computer.ID)
			return nil
		},
		"switched off": func(p *phone) error { return p.EnableGrants(false) },
		"the clock was set back": func(p *phone) error {
			p.cfg.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) }
			p.Grants()
			p.cfg.Now = time.Now // the request's clock is right
			return nil
		},
		"on restart": func(p *phone) error {
			s, err := New(p.cfg)
			p.Signer = s
			return err
		},
	} {
		p, id := granting(t, time.Hour)
		if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil {
			t.Fatal(err)
		}
		if g := p.Grants(); len(g) != 1 || g[0].What == (wire.Text{}) || time.Until(g[0].Until) < 59*time.Minute {
			t.Fatalf("%s: grants %+v", name, g)
		}
		secret := p.heldSecrets()[0]
		if err := end(p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := p.asked
		err := p.askLogin(id, login(id, sessionID(0), "root", &prod), "")
		p.expectAsked(name, true, err, before)
		if name != "on restart" && secret[0] != 0 {
			t.Errorf("%s: the secret is still in memory", name)
		}
	}
}

// heldSecrets are what the phone keeps for its grants.
func (p *phone) heldSecrets() (list [][]byte) {
	p.grants.Lock()
	defer p.grants.Unlock()
	for _, h := range p.held {
		list = append(list, h.secret)
	}
	return list
}

// The machine sleeps over a grant's end, and its timers with it: the secret is wiped
// soon after it wakes.
func TestGrantEndsInSleep(t *testing.T) {
	prod := newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p, id := granting(t, time.Hour)
		var slept atomic.Int64
		p.Signer.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil {
			t.Fatal(err)
		}
		secret := p.heldSecrets()[0]
		time.Sleep(time.Minute)
		slept.Store(int64(time.Hour))
		time.Sleep(grantLook)
		synctest.Wait()
		if secret[0] != 0 || len(p.heldSecrets()) != 0 {
			t.Error("the secret of a grant that is over is still in memory")
		}
	})
}

// Nothing is granted that was not switched on, nor by keys that ask each time,
// nor for longer than an hour.
func TestNoGrant(t *testing.T) {
	prod := newServer(t)
	ask := func(p *phone, id identity.Identity) {
		t.Helper()
		for range 2 {
			if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, id := granting(t, time.Minute)
	if err := p.EnableGrants(false); err != nil {
		t.Fatal(err)
	}
	if ask(p, id); p.asked != 2 || p.sheet.Grantable() {
		t.Errorf("switched off: asked %d times", p.asked)
	}
	p, id = granting(t, time.Minute)
	p.cfg.Providers["ram"] = p.keys
	if ask(p, id); p.asked != 2 || p.sheet.Grantable() {
		t.Errorf("a key that asks each time: asked %d times", p.asked)
	}
	// An approver that grants what cannot be granted: nothing is listed, and no
	// secret is kept.
	p, id = granting(t, time.Minute)
	for range 2 {
		r := p.request(id)
		r.DataToSign = []byte("bytes that nobody can read")
		if answer := p.ask(t.Context(), r); answer.Error != nil {
			t.Fatal(answer.Error)
		}
	}
	if g := p.Grants(); len(g) != 0 || len(p.heldSecrets()) != 0 || p.asked != 2 {
		t.Errorf("unreadable bytes: asked %d times, grants %+v, %d secrets", p.asked, g, len(p.heldSecrets()))
	}
	p, id = granting(t, 100*time.Hour)
	if ask(p, id); p.asked != 1 {
		t.Errorf("asked %d times", p.asked)
	}
	if g := p.Grants(); len(g) != 1 || g[0].Until.Sub(g[0].Since) != MaxGrant {
		t.Errorf("grants %+v", g)
	}
}

// An attacker on the computer asks again and again, and hopes for a wrong tap.
func TestPromptBombing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("work", "ssh-ed25519")
		p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { p.asked++; return SignDecision{}, nil }
		ask := func(want wire.Code, asked int) {
			t.Helper()
			p.wantCode(p.ask(t.Context(), p.request(id)), want)
			if p.asked != asked {
				t.Errorf("asked %d times, want %d", p.asked, asked)
			}
		}
		ask(wire.CodeUserDenied, 1)
		time.Sleep(61 * time.Second) // too long ago to count
		ask(wire.CodeUserDenied, 2)
		ask(wire.CodeUserDenied, 3)
		ask(wire.CodeUserDenied, 4)
		ask(wire.CodePaused, 4)
		r := p.request(id) // nor is any other program of that computer asked for
		r.Context.Programs = []string{"another", "bash"}
		p.wantCode(p.ask(t.Context(), r), wire.CodePaused)
		home := p.computer
		p.computer = device.Peer{ID: device.ID{2}, Name: wire.Clean("another")}
		ask(wire.CodeUserDenied, 5)
		p.computer = home
		time.Sleep(5*time.Minute - time.Second)
		ask(wire.CodePaused, 5)
		time.Sleep(time.Second)
		ask(wire.CodeUserDenied, 6)
		ask(wire.CodeUserDenied, 7)
		ask(wire.CodeUserDenied, 8)
		ask(wire.CodePaused, 8)
		if err := p.EndPauses(home.ID); err != nil {
			t.Fatal(err)
		}
		ask(wire.CodeUserDenied, 9)
	})
}

// A pause that began while the phone's clock was wrong, as that of a Raspberry Pi is until it has
// asked for the time, lasts for no years.
func TestPauseOfAWrongClock(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	wrong := time.Now().AddDate(12, 0, 0)
	p.pause(Pause{DeviceID: p.computer.ID, Since: wrong, Until: wrong.Add(pauseFor)})
	if err := p.paused(p.computer.ID, wire.Text{}); err != nil {
		t.Error(err)
	}
	if r := p.ask(t.Context(), p.request(id)); r.Error != nil {
		t.Error(r.Error)
	}
}

// Thirty requests that one sheet lists are denied by one tap: that is one denial.
func TestDenialsOnOneSheetAreOne(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	joined := false
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{Joined: joined}, nil }
	deny := func(n int) (pauses int) {
		t.Helper()
		for range n {
			p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeUserDenied)
			joined = true
		}
		list, err := p.Pauses()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := deny(30); n != 0 {
		t.Errorf("one denial of thirty requests: %d pauses", n)
	}
	for range 2 {
		joined = false
		deny(1)
	}
	if list, err := p.Pauses(); err != nil || len(list) != 1 {
		t.Errorf("three denials: pauses %+v, %v", list, err)
	}
}

// Sheets for certificates are sheets, too: they count, and a paused computer
// makes none.
func TestPromptBombingByCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("work", "ssh-ed25519")
		p.createCA("root")
		p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { p.asked++; return SignDecision{}, nil }
		p.approver.Certificate = func(context.Context, CertificateSheet) (CertificateDecision, error) {
			p.asked++
			return CertificateDecision{}, nil
		}
		certificate := func(want wire.Code, asked int) {
			t.Helper()
			answer := p.askCertificate(certificateRequest(t, p))
			if got := codeOf(answer.Error); got != want || p.asked != asked {
				t.Errorf("got %q, asked %d times, want %q, %d", got, p.asked, want, asked)
			}
		}
		certificate(wire.CodeUserDenied, 1)
		p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeUserDenied)
		certificate(wire.CodeUserDenied, 3)
		certificate(wire.CodePaused, 3)
		p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodePaused)
		time.Sleep(5 * time.Minute)
		certificate(wire.CodeUserDenied, 4)
	})
}

// A muted program is not asked for; others of the same computer are.
func TestMutedProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("work", "ssh-ed25519")
		mute := true
		p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) {
			p.asked++
			return SignDecision{Approved: !mute, Mute: mute}, nil
		}
		ask := func(want wire.Code, programs ...string) {
			t.Helper()
			r := p.request(id)
			r.Context.Programs = programs
			if got := codeOf(p.ask(t.Context(), r).Error); got != want {
				t.Errorf("%v: %q, want %q", programs, got, want)
			}
		}
		ask(wire.CodeUserDenied, "ssh", "cron")
		mute = false
		ask(wire.CodeMuted, "ssh", "cron")
		ask("", "ssh", "bash")
		time.Sleep(MuteFor)
		ask("", "ssh", "cron")
	})
}

// A push with LFS asks five times: the third sheet offers the grant by itself, also
// where grants were never switched on, and taking it ends the asking. Other servers,
// what was denied and what is longer ago bring no offer about; nor is there one for
// whoever has switched grants off.
func TestThirdLikeRequestOffersAGrant(t *testing.T) {
	forge, other := newServer(t), newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		p.cfg.Providers["ram"] = locking{p.keys}
		take, deny := time.Duration(0), false
		p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) {
			p.asked, p.sheet = p.asked+1, s
			return SignDecision{Approved: !deny, Grant: take}, nil
		}
		id := p.create("work", "ssh-ed25519")
		push := func(to *server, asked, offers bool) {
			t.Helper()
			before := p.asked
			err := p.askLogin(id, login(id, sessionID(0), "git", to), "")
			if (err != nil) != deny || p.asked > before != asked || asked && p.sheet.OffersGrant() != offers {
				t.Errorf("asked %v, offers %v, %v", p.asked > before, p.sheet.OffersGrant(), err)
			}
		}
		push(&forge, true, false)
		deny = true
		push(&forge, true, false)
		deny = false
		push(&other, true, false)
		push(&forge, true, false)
		push(&other, true, false)
		time.Sleep(time.Minute)
		push(&forge, true, false)
		push(&forge, true, false)
		take = 15 * time.Minute
		push(&forge, true, true)
		for range 20 {
			push(&forge, false, false)
		}
		take = 0
		push(&other, true, false)
		if on, err := p.GrantsEnabled(); err != nil || !on {
			t.Errorf("a grant holds, and grants are off: %v", err)
		}
		if err := p.EnableGrants(false); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			push(&forge, true, false)
		}
	})
}

// hooked calls got after each read of the grants' document.
type hooked struct {
	documents.Store
	got func()
}

func (h hooked) Get(name string) ([]byte, error) {
	b, err := h.Store.Get(name)
	if name == grantsDocument {
		h.got()
	}
	return b, err
}

// A person who switches grants off while a sheet's offer is being taken has the last
// word.
func TestSwitchedOffWhileAnOfferIsTaken(t *testing.T) {
	p := newPhone(t)
	p.cfg.Providers["ram"] = locking{p.keys}
	id, prod := p.create("work", "ssh-ed25519"), newServer(t)
	off := make(chan error, 1)
	p.approver.Sign = func(_ context.Context, s SignSheet) (SignDecision, error) {
		if !s.OffersGrant() {
			return SignDecision{Approved: true}, nil
		}
		var begun atomic.Bool
		p.cfg.Store = hooked{p.cfg.Store, func() {
			if begun.Swap(true) {
				return
			}
			go func() { off <- p.EnableGrants(false) }()
			if p.mu.TryLock() { // else it waits for who takes the offer
				p.mu.Unlock()
				off <- <-off
			}
		}}
		return SignDecision{Approved: true, Grant: time.Minute}, nil
	}
	for n := range byte(3) {
		if err := p.askLogin(id, login(id, sessionID(n), "root", &prod), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-off; err != nil {
		t.Fatal(err)
	}
	if on, err := p.GrantsEnabled(); on || err != nil || len(p.Grants()) != 0 {
		t.Errorf("switched off: %v, %v, and held are %d", on, err, len(p.Grants()))
	}
}

// A computer that withdraws a request while the person approves it gets no signature,
// and nothing else of it: no grant, no server that is known, no approval that counts.
func TestWithdrawnApprovalGivesNothing(t *testing.T) {
	p, id := granting(t, 15*time.Minute)
	prod := newServer(t)
	ctx, withdraw := context.WithCancel(context.Background())
	p.approver.Passphrase = func(ctx context.Context, _ PassphraseRequest) ([]byte, error) {
		withdraw()
		<-ctx.Done()
		return bytes.Clone(secret), nil
	}
	r := p.request(id)
	r.DataToSign, r.Context.HostName = login(id, sessionID(0), "root", &prod), "prod.example"
	if answer := p.ask(ctx, r); answer.Error == nil {
		t.Error("it was signed")
	}
	if list := p.Grants(); len(list) != 0 || len(p.heldSecrets()) != 0 || p.again(p.sheet) != 0 || len(must(p.Hosts.All())) != 0 {
		t.Errorf("grants %+v, %d approvals, hosts %+v", list, p.again(p.sheet), must(p.Hosts.All()))
	}
}

// A session binding alone could be vouched for by the server's owner, and what comes
// by way of another server, or cannot be read, is like nothing: no offer.
func TestWhatCannotBeGrantedIsNotOffered(t *testing.T) {
	p := newPhone(t)
	p.cfg.Providers["ram"] = locking{p.keys}
	id, prod := p.create("work", "ssh-ed25519"), newServer(t)
	for range 4 {
		for name, err := range map[string]error{
			"plain":  p.askLogin(id, login(id, sessionID(0), "root", nil), "", prod.bind(t, sessionID(0), false)),
			"no key": p.askLogin(id, []byte("some bytes"), ""),
		} {
			if err != nil || p.sheet.OffersGrant() || p.sheet.Again != 0 {
				t.Errorf("%s: %+v, %v", name, p.sheet.Again, err)
			}
		}
	}
}
