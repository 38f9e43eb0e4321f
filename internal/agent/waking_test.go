package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

const testHub = "https://hub.example"

// How seldom a phone is woken, as package waking has it.
const (
	wakeSpan, maxWakes, wakePause = 5 * time.Minute, 5, 10 * time.Second
	wakeUnshown                   = 4 * time.Second
)

func (w *world) useHub(h hubClient, url string) {
	w.hub, w.cfg.Hub = h, &Hub{URL: url}
	w.waker.UseHub(h, url)
}

// pushHub is the in-memory twin of a relay.Client, and the phones that it wakes.
type pushHub struct {
	mu     sync.Mutex
	wakes  []device.ID
	fails  error
	slow   bool // wakes, and does not say so
	away   bool // not connected, and thus silent and slow
	onWake func(device.ID)
}

func (b *pushHub) WakePeer(ctx context.Context, id device.ID) error {
	b.mu.Lock()
	b.wakes = append(b.wakes, id)
	err, f, slow := b.fails, b.onWake, b.slow || b.away
	b.mu.Unlock()
	if slow {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if f != nil {
		f(id)
	}
	return err
}

func (b *pushHub) woken() []device.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wakes)
}

func (b *pushHub) Name() string              { return "hub" }
func (b *pushHub) Run(context.Context) error { return nil }
func (b *pushHub) Refresh()                  {}
func (b *pushHub) Listener() net.Listener    { return nil }
func (b *pushHub) Status() relay.Status      { return relay.Status{Connected: !b.away} }
func (b *pushHub) Rendezvous(context.Context, [32]byte, time.Duration) (func(), error) {
	return func() {}, nil
}
func (b *pushHub) Dial(context.Context, device.Peer, link.Secure) (*tls.Conn, string, error) {
	return nil, "", link.ErrNoRoute
}

// says is a phone that tells the agent whether a hub can wake it.
func (w *world) tells(p *phone, hub string, active bool) wire.Kind {
	w.t.Helper()
	return w.tellsWhy(p, hub, active, "")
}

func (w *world) tellsWhy(p *phone, hub string, active bool, why string) wire.Kind {
	w.t.Helper()
	update := wire.DeviceTokenUpdate{Service: wire.ServiceWebPush, Hub: hub, Active: active, Reason: why}
	e, err := wiretest.Envelope("x", wire.KindDeviceTokenUpdate, update)
	if err != nil {
		w.t.Fatal(err)
	}
	kind, _ := handler{w.Agent}.Serve(w.t.Context(), &link.Request{From: p.peer, Envelope: e})
	return kind
}

// withHub runs a test in virtual time: an agent at a hub, and a phone that
// holds a key, approves at once, and is away, but can be woken.
func withHub(t *testing.T, f func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer)) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		b := &pushHub{}
		w.useHub(b, testHub)
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		if kind := w.tells(p, testHub, true); kind != "" {
			t.Fatalf("the update was answered with %s", kind)
		}
		w.disconnect(p)
		f(t, w, p, b, key)
	})
}

// A phone that is away is woken once, comes, and signs. The status says that it
// was woken.
func TestPhoneIsWoken(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		if d := w.Status().Phones[0]; !d.Wakeable {
			t.Error("the status does not say that the phone can be woken")
		}
		var woken bool
		b.onWake = func(device.ID) {
			w.tasks.run(func(context.Context) {
				time.Sleep(6 * time.Second) // a notification, a pocket, a thumb
				woken = w.Status().Waiting[0].Woken
				w.connect(p)
			})
		}
		began := time.Now()
		if _, err := w.Sign(t.Context(), request(key, "session")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 7*time.Second || took < 6*time.Second {
			t.Errorf("signed after %v", took)
		}
		if !woken || !slices.Equal(b.woken(), []device.ID{p.peer.ID}) {
			t.Errorf("woken %v, status says %v", b.woken(), woken)
		}
	})
}

// Nobody comes: once for the request, and the reason says that it was tried.
func TestNobodyComes(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		_, err := w.Sign(t.Context(), request(key, "session"))
		if wire.CodeOf(err) != wire.CodePhoneNotReachable || !strings.Contains(err.Error(), "it was rung") {
			t.Errorf("failed with %v", err)
		}
		if n := len(b.woken()); n != 1 {
			t.Errorf("woken %d times", n)
		}
		if f := w.Status().LastFailure; f == nil || f.Code != wire.CodePhoneNotReachable || !strings.Contains(f.Sentence, "it was rung") {
			t.Errorf("the status says %+v", f)
		}
	})
}

// A program that asks again and again does not wake the phone all day, and
// the requests of one moment wake it once.
func TestWakesAreFew(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		began := time.Now()
		for n := 0; time.Since(began) < wakeSpan; n++ {
			var asked sync.WaitGroup
			for range 3 {
				asked.Go(func() { _, _ = w.Sign(t.Context(), request(key, fmt.Sprint("session ", n))) })
			}
			asked.Wait()
		}
		if n := len(b.woken()); n > maxWakes || n < 2 {
			t.Errorf("woken %d times in %v", n, wakeSpan)
		}
		time.Sleep(wakeSpan)
		before := len(b.woken())
		_, _ = w.Sign(t.Context(), request(key, "a session long after"))
		if len(b.woken()) != before+1 {
			t.Error("not woken any more, long after")
		}
	})
}

// A program that goes away while the hub wakes the phone does not keep that from being
// counted: the hub wakes it all the same.
func TestWakesForWhoGoesAwayAreFew(t *testing.T) {
	for name, away := range map[string]bool{"at the hub": false, "the hub is away": true} {
		t.Run(name, func(t *testing.T) {
			withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
				b.slow, b.away = true, away
				began := time.Now()
				for n := 0; time.Since(began) < wakeSpan-time.Second; n++ {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, _ = w.Sign(ctx, request(key, fmt.Sprint("session ", n)))
					cancel()
				}
				if n := len(b.woken()); !away && (n > maxWakes || n < 2) {
					t.Errorf("woken %d times in %v", n, wakeSpan)
				}
				before := len(b.woken())
				b.slow, b.away = false, false
				time.Sleep(wakePause)
				_, _ = w.Sign(t.Context(), request(key, "a session"))
				if n := len(b.woken()) - before; away && n != 1 {
					t.Errorf("once the hub is back, woken %d times", n)
				}
			})
		})
	}
}

// A login over another host asks twice. The phone has come for the first request, has
// approved it and was put away: the second one wakes it again, and is not taken for one
// of those that the first wake-up was for.
func TestPhoneThatWasPutAwayIsWokenAgain(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		b.onWake = func(device.ID) { w.tasks.run(func(context.Context) { w.connect(p) }) }
		for n, name := range []string{"jump host", "target"} {
			if _, err := w.Sign(t.Context(), request(key, name)); err != nil || len(b.woken()) != n+1 {
				t.Errorf("%s: %v, woken %d times", name, err, len(b.woken()))
			}
			w.disconnect(p)
		}
	})
}

// A link that is there but leads to a page that its system has frozen: the
// request is not shown, so the phone is woken after all. One that shows it is
// not.
func TestPhoneOfASilentLinkIsWoken(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		w.connect(p)
		if _, err := w.Sign(t.Context(), request(key, "session")); err != nil || len(b.woken()) > 0 {
			t.Errorf("%v, woken %d times", err, len(b.woken()))
		}
		p.signing(key, silent)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, _ = w.Sign(ctx, request(key, "session"))
		cancel()
		if len(b.woken()) > 0 {
			t.Error("woken though it showed the request")
		}
		p.signing(key, func(ctx context.Context, _ *wire.RemoteSignRequest, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		b.onWake = func(device.ID) {
			if took := time.Since(began); took < wakeUnshown {
				t.Errorf("woken after %v", took)
			}
		}
		_, _ = w.Sign(t.Context(), request(key, "session"))
		if len(b.woken()) != 1 {
			t.Errorf("woken %d times", len(b.woken()))
		}
	})
}

func TestCertificateWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := &pushHub{}
		w.useHub(b, testHub)
		p := w.addPhone(1, "phone")
		w.tells(p, testHub, true)
		b.onWake = func(device.ID) { w.tasks.run(func(context.Context) { w.connect(p) }) }
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil || len(b.woken()) != 1 {
			t.Errorf("%v, woken %d times", err, len(b.woken()))
		}
		w.stop()
	})
}

// Which phones can be woken survives a restart; by another hub, after it said
// that it cannot be, or unpaired, a phone is not woken, and a malformed update
// changes nothing.
func TestWakeablePhonesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		w.tells(p, testHub, true)
		w.stop()
		again := newWorldIn(t, w.docs, w.trust)
		again.useHub(&pushHub{}, testHub)
		ids := []device.ID{p.peer.ID}
		ringable := func(want bool, why string) {
			t.Helper()
			if got := again.waker.Wakeable(ids); (len(got) == 1) != want {
				t.Errorf("%s: can be woken %v", why, got)
			}
		}
		ringable(true, "after a restart")
		again.useHub(again.hub, "https://other.example")
		ringable(false, "at another hub")
		again.useHub(again.hub, testHub)
		if kind := again.tells(p, "https://HUB.example/", false); kind != wire.KindError {
			t.Errorf("malformed, answered with %q", kind)
		}
		ringable(true, "after a malformed update")
		again.tells(p, testHub, false)
		ringable(false, "switched off")
		again.tells(p, testHub, true)
		again.net.phones[p.peer.ID] = p
		if err := again.forget(p.peer.ID); err != nil {
			t.Fatal(err)
		}
		ringable(false, "unpaired")
		again.tells(p, testHub, true)
		ringable(false, "an unpaired phone's update")
		again.stop()
		if b, _ := w.docs.Get(waking.Document); strings.Contains(string(b), p.peer.ID.String()) {
			t.Errorf("kept of a phone that is unpaired: %s", b)
		}
	})
}

// A hub that knows no subscription is not asked again for that request, and the
// reason does not claim that the phone was woken.
func TestHubThatCannotWake(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		b.fails = &relay.Error{Code: hubwire.CodeNotSubscribed}
		_, err := w.Sign(t.Context(), request(key, "session"))
		if wire.CodeOf(err) != wire.CodePhoneNotReachable || strings.Contains(err.Error(), "rung") || len(b.woken()) != 1 {
			t.Errorf("%v, asked %d times", err, len(b.woken()))
		}
	})
}

// A wake-up that fails is tried again while the request waits: the hub's connection
// to the push service was dead, or the hub is just coming back.
func TestFailedWakeIsTriedAgain(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		b.fails = errors.New("the push service does not answer")
		b.onWake = func(device.ID) {
			b.mu.Lock()
			defer b.mu.Unlock()
			switch len(b.wakes) {
			case 3:
				b.fails = nil
			case 4:
				w.tasks.run(func(context.Context) { w.connect(p) })
			}
		}
		if _, err := w.Sign(t.Context(), request(key, "session")); err != nil || len(b.woken()) != 4 {
			t.Errorf("%v, asked %d times", err, len(b.woken()))
		}
	})
}

// It fails for as long as the request waits: a few attempts, and no claim that the
// phone was woken.
func TestFailedWakesAreFew(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		b.fails = errors.New("the push service answered 503")
		began := time.Now()
		_, err := w.Sign(t.Context(), request(key, "session"))
		if wire.CodeOf(err) != wire.CodePhoneNotReachable || strings.Contains(err.Error(), "rung") {
			t.Error(err)
		}
		if took, n := time.Since(began), len(b.woken()); took != wire.Window || n < 4 || n > 8 {
			t.Errorf("asked %d times in %v", n, took)
		}
	})
}

// A phone that saves power shows a push late: its person has the whole window from
// the wake-up on, and the request that the phone gets has it, too.
func TestWindowCountsFromTheWake(t *testing.T) {
	for name, linked := range map[string]bool{"away": false, "a frozen page": true} {
		t.Run(name, func(t *testing.T) {
			withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
				var asked []*wire.RemoteSignRequest
				thawed := make(chan struct{})
				p.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
					select {
					case <-thawed:
					case <-ctx.Done():
						return ctx.Err()
					}
					asked = append(asked, r)
					if !time.Now().Before(r.ExpiresAt()) { // as the phone's own window says
						return wire.NewError(wire.CodeRequestExpired)
					}
					received()
					return nil
				})
				if linked {
					w.connect(p)
				}
				var woken time.Time
				b.onWake = func(device.ID) {
					woken = time.Now()
					w.tasks.run(func(context.Context) {
						time.Sleep(80 * time.Second)
						if until := w.Status().Waiting[0].Until; !until.Equal(woken.Add(wire.MaxWindow).Round(0)) {
							t.Errorf("woken at %v, the status says until %v", woken, until)
						}
						close(thawed)
						w.connect(p)
					})
				}
				if _, err := w.Sign(t.Context(), request(key, "session")); err != nil {
					t.Fatal(err)
				}
				last := asked[len(asked)-1]
				if end := woken.Add(wire.MaxWindow); last.ExpiresAt().Sub(end).Abs() > time.Second || len(b.woken()) != 1 {
					t.Errorf("woken %d times, at %v, the phone's request ends at %v", len(b.woken()), woken, last.ExpiresAt())
				}
			})
		})
	}
}

// Another phone of the same key shows the request, with the usual window, and nobody looks
// at it: its end is not that of the phone that was woken.
func TestWindowOutlivesThatOfAnotherPhone(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		tablet := w.addPhone(2, "tablet")
		tablet.hello = wire.Hello{}
		tablet.signing(key, approves)
		w.connect(tablet)
		synctest.Wait()
		if _, err := w.Sign(t.Context(), request(key, "the tablet proves that it has the key")); err != nil {
			t.Fatal(err)
		}
		tablet.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
			received()
			select {
			case <-time.After(time.Until(r.ExpiresAt())):
				return wire.NewError(wire.CodeRequestExpired)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		b.onWake = func(device.ID) {
			w.tasks.run(func(context.Context) {
				time.Sleep(80 * time.Second)
				w.connect(p)
			})
		}
		if _, err := w.Sign(t.Context(), request(key, "session")); err != nil || len(b.woken()) != 1 {
			t.Errorf("%v, woken %d times", err, len(b.woken()))
		}
		w.disconnect(p)
		b.onWake = nil
		began := time.Now()
		_, err := w.Sign(t.Context(), request(key, "nobody comes"))
		if took := time.Since(began); wire.CodeOf(err) != wire.CodeRequestExpired || took < wire.MaxWindow || took > wire.MaxWindow+2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
