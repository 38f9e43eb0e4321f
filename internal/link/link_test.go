package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// TestLinkOverTCP: the real thing over loopback. Both are told of the link, a
// request is answered, and the channel is what it is said to be.
func TestLinkOverTCP(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	state := make(chan tls.ConnectionState, 1)
	r := tcpRoute{l.Addr().String(), state}
	phone := newActor(t, "phone")
	agent := newActor(t, "laptop", func(c *Config) {
		c.Routes = []Route{r}
		c.Hello = func() wire.Hello { return wire.Hello{OpenSSHVersion: "OpenSSH_9.2p1"} }
	})
	agent.trusts(phone)
	phone.trusts(agent)
	phone.run()
	agent.run()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() { _ = phone.Node.Serve(ctx, l) }()
	e, err := agent.Ask(ctx, phone.id, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
	if err != nil || e.Kind != wire.KindKeyListResponse {
		t.Fatalf("answer %v, %v", e.Kind, err)
	}
	phone.until(func() bool { return phone.up == 1 })
	if phone.hello.DeviceName != "laptop" || phone.hello.OpenSSHVersion != "OpenSSH_9.2p1" {
		t.Errorf("hello %+v", phone.hello)
	}
	if !strings.HasPrefix(phone.route, "tcp:127.0.0.1:") {
		t.Errorf("route %q", phone.route)
	}
	cs := <-state
	if cs.Version != tls.VersionTLS13 || cs.CurveID != tls.X25519MLKEM768 || cs.DidResume {
		t.Errorf("version %x, curve %v, resumed %v", cs.Version, cs.CurveID, cs.DidResume)
	}
	p, err := agent.trust.Get(phone.id)
	for err == nil && len(p.Routes) == 0 && ctx.Err() == nil { // it is noted once the link is up
		runtime.Gosched()
		p, err = agent.trust.Get(phone.id)
	}
	if err != nil || len(p.Routes) != 1 || p.Routes[0] != "tcp:"+l.Addr().String() {
		t.Errorf("last known address %v, %v", p.Routes, err)
	}
	if !agent.Connected(phone.id) || agent.Connected(device.ID{1}) {
		t.Error("the link is not the phone's")
	}
	if s := agent.Peers(); len(s) != 1 || !s[0].Connected || s[0].Hello.DeviceName != "phone" || s[0].ClockDifference.Abs() > time.Second {
		t.Errorf("status %+v", s)
	}
}

// busyStore takes until release for what it is asked to keep once it is busy.
type busyStore struct {
	device.Store
	busy    atomic.Bool
	saving  chan struct{}
	release chan struct{}
}

func (s *busyStore) Save(doc []byte) error {
	if s.busy.CompareAndSwap(true, false) {
		close(s.saving)
		<-s.release
	}
	return s.Store.Save(doc)
}

// TestLinkOutlivesItsListener: an invitation's listener ends as soon as its link is
// up, when the accepting side may still be busy with the connection.
func TestLinkOutlivesItsListener(t *testing.T) {
	ctx, endListener := context.WithTimeout(t.Context(), 20*time.Second)
	store := &busyStore{Store: new(testkit.Document), saving: make(chan struct{}), release: make(chan struct{})}
	c := newCouple(t, nil)
	c.phone = newActor(t, "phone", func(cfg *Config) {
		trust := device.NewTrust(store)
		cfg.Trust = trust
		cfg.Hello = sync.OnceValue(func() wire.Hello {
			store.busy.Store(true)
			go func() { _ = trust.Add(device.Peer{ID: device.ID{9}}) }()
			<-store.saving
			return wire.Hello{}
		})
	})
	c.phone.trust = c.phone.Node.trust
	c.phone.trusts(c.agent)
	c.agent.trusts(c.phone)
	c.agent.run()
	served := make(chan error, 1)
	go func() { served <- c.phone.Node.Serve(ctx, c.net) }()
	testkit.WaitFor(t, "the link", func() bool { return c.phone.Connected(c.agent.id) })
	endListener()
	close(store.release)
	if err := <-served; err != nil {
		t.Error(err)
	}
	asking, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.askList(asking); err != nil || c.phone.downs() > 0 {
		t.Errorf("the link ended with its listener: %v, %v", err, c.phone.lastReason())
	}
	c.phone.Node.Close()
}

type tcpRoute struct {
	address string
	state   chan tls.ConnectionState
}

func (tcpRoute) Name() string { return "tcp" }
func (r tcpRoute) Dial(ctx context.Context, p device.Peer, secure Secure) (*tls.Conn, string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, "", err
	}
	s, err := secure(ctx, c)
	if err == nil && r.state != nil {
		select {
		case r.state <- s.ConnectionState():
		default:
		}
	}
	return s, "tcp:" + r.address, err
}

// TestBlackHoleNoticed: packets vanish without a reset. Both sides notice
// within 15 s, and a link through another connection comes up.
func TestBlackHoleNoticed(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		for _, before := range []time.Duration{0, 3 * time.Second, 61 * time.Second} {
			time.Sleep(before) // the clock of the bubble
			began := time.Now()
			c.net.hole()
			for _, a := range []*actor{c.agent, c.phone} {
				n := a.downs()
				a.until(func() bool { return a.down > n })
				if took := time.Since(began); took > 15*time.Second || !errors.Is(a.lastReason(), ErrDead) {
					t.Errorf("%s noticed after %v: %v", a.name, took, a.lastReason())
				}
			}
			c.linked()
			if _, err := c.askList(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func (a *actor) downs() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.up - 1
}

// TestQuietLinkStays: an idle link lives for hours by its pings.
func TestQuietLinkStays(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if c.agent.down+c.phone.down != 0 {
			t.Errorf("link went down: %v", c.agent.lastReason())
		}
	})
}

// TestWakeProbes: after Wake a link that is dead is noticed sooner.
func TestWakeProbes(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		time.Sleep(time.Second)
		c.agent.Wake() // a live link stands it
		time.Sleep(5 * time.Second)
		c.net.hole()
		began := time.Now()
		c.agent.Wake()
		c.agent.until(func() bool { return c.agent.down == 1 })
		if took := time.Since(began); took > probeTimeout {
			t.Errorf("noticed after %v", took)
		}
	})
}

// TestResendAfterReconnect: the link dies while the person is asked. The
// request is sent again, shown once, and its answer arrives.
func TestResendAfterReconnect(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		release := make(chan struct{})
		c.phone.serve = func(ctx context.Context, req *Request) (wire.Kind, any) {
			req.Received()
			<-release
			return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
		}
		shown := 0
		got := c.askSign(t.Context(), func() { shown++ })
		synctest.Wait()
		for range 3 {
			c.net.cut()
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		if len(c.phone.served) != 1 || shown != 1 || c.agent.up != 4 {
			t.Fatalf("served %d, shown %d, links %d", len(c.phone.served), shown, c.agent.up)
		}
		close(release)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

// TestRedelivery: the answer was given while the link was dead, and once more
// when it was written to a link that swallowed it.
func TestRedelivery(t *testing.T) {
	for _, when := range []string{"link gone", "link a black hole"} {
		t.Run(when, func(t *testing.T) {
			withLink(t, func(t *testing.T, c *couple) {
				release := make(chan struct{})
				c.phone.serve = func(ctx context.Context, req *Request) (wire.Kind, any) {
					<-release
					return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
				}
				got := c.askSign(t.Context(), nil)
				synctest.Wait()
				if when == "link gone" {
					c.net.setRefuse(true)
					c.net.cut()
				} else {
					c.net.hole()
				}
				close(release)
				synctest.Wait()
				c.net.setRefuse(false)
				if err := <-got; err != nil {
					t.Fatal(err)
				}
				if len(c.phone.served) != 1 {
					t.Errorf("served %d times", len(c.phone.served))
				}
			})
		})
	}
}

// TestCancel: the caller goes away, with a link and without.
func TestCancel(t *testing.T) {
	for _, linked := range []bool{true, false} {
		t.Run(fmt.Sprintf("linked=%v", linked), func(t *testing.T) {
			withLink(t, func(t *testing.T, c *couple) {
				var ended time.Time
				c.phone.serve = func(ctx context.Context, req *Request) (wire.Kind, any) {
					<-ctx.Done()
					ended = time.Now()
					return wire.KindError, wire.NewError(wire.CodeRequestExpired)
				}
				ctx, cancel := context.WithCancel(t.Context())
				got := asking(func() error { _, err := c.askList(ctx); return err })
				synctest.Wait()
				if !linked {
					c.net.setRefuse(true)
					c.net.cut()
					synctest.Wait()
				}
				began := time.Now()
				cancel()
				if err := <-got; !errors.Is(err, context.Canceled) {
					t.Errorf("ask ended with %v", err)
				}
				synctest.Wait()
				if linked && ended.Sub(began) != 0 {
					t.Errorf("withdrawn after %v", ended.Sub(began))
				}
				if !linked && !ended.IsZero() {
					t.Error("a lost link ended the request")
				}
				c.net.setRefuse(false)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if ended.IsZero() {
					t.Error("never withdrawn")
				}
			})
		})
	}
}

// TestCloseWithdraws: who ends takes back what it has asked, so that nobody is asked for it any
// more (bitwarden/clients issue 23040).
func TestCloseWithdraws(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		got, ended := c.waiting(t)
		c.agent.Close()
		if err := <-got; !errors.Is(err, ErrNodeClosed) {
			t.Errorf("ask ended with %v", err)
		}
		synctest.Wait()
		if !errors.Is(*ended, errCancelled) {
			t.Errorf("the request has ended with %v", *ended)
		}
	})
}

// TestCloseBesideADeafPeer: what a peer does not read keeps nobody for longer than closeTimeout.
func TestCloseBesideADeafPeer(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		got, _ := c.waiting(t)
		c.net.stick()
		began := time.Now()
		c.agent.Close()
		if took := time.Since(began); took > closeTimeout {
			t.Errorf("closed after %v", took)
		}
		if err := <-got; !errors.Is(err, ErrNodeClosed) {
			t.Errorf("ask ended with %v", err)
		}
	})
}

// TestAskWaitsForLink: asked while the phone is away, answered when it comes,
// at once rather than after the back-off.
func TestAskWaitsForLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		c.net.setRefuse(true)
		defer c.start()()
		time.Sleep(time.Minute)
		before := c.net.dialled()
		if before < 4 || before > 12 {
			t.Errorf("%d attempts in a minute", before)
		}
		c.net.setRefuse(false)
		began := time.Now()
		if _, err := c.askList(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > BackoffMin {
			t.Errorf("took %v", took)
		}
	})
}

// TestUnpairedByAnotherProcess: Trust changes under the node. The link ends,
// the other side learns why, and what was asked fails with its code.
func TestUnpairedByAnotherProcess(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		got, cause := c.waiting(t)
		if err := c.phone.trust.Remove(c.agent.id); err != nil {
			t.Fatal(err)
		}
		c.phone.Disconnect(c.agent.id, ErrUnpairedHere)
		began := time.Now()
		if err := <-got; wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("ask ended with %v", err)
		}
		c.agent.until(func() bool { return c.agent.unpaired == 1 && c.agent.down == 1 })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("noticed after %v", took)
		}
		synctest.Wait()
		if *cause != error(ErrUnpairedHere) || c.phone.lastReason() != error(ErrUnpairedHere) {
			t.Errorf("request ended by %v, link by %v", *cause, c.phone.lastReason())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.agent.up != 1 || c.agent.unpaired != 1 {
			t.Errorf("links %d, told %d times", c.agent.up, c.agent.unpaired)
		}
		if _, err := c.askList(t.Context()); wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("asking afterwards: %v", err)
		}
		c.phone.trusts(c.agent) // paired anew
		c.agent.Wake()
		c.linkedAgain(2)
	})
}

// attacker: a paired computer that keeps a second connection open without saying hello,
// and says it once it has been unpaired. It gets no link, and nothing is served.
func TestUnpairedBeforeHello(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		c.phone.serve = func(context.Context, *Request) (wire.Kind, any) {
			return wire.KindSignResponse, wire.SignResponse{RequestID: "r1", Signature: []byte("s")}
		}
		r := c.dialMute(t)
		if e := r.next(); e.Kind != wire.KindHello { // the phone waits for the computer's
			t.Fatalf("got %s", e.Kind)
		}
		if err := c.phone.trust.Remove(c.agent.id); err != nil {
			t.Fatal(err)
		}
		c.phone.Disconnect(c.agent.id, ErrUnpairedHere)
		if err := c.agent.sayHello(r.conn); err != nil {
			t.Fatal(err)
		}
		r.put(wire.Envelope{Version: 1, ID: "r1", Kind: wire.KindSignRequest, Body: json.RawMessage(`{"requestID":"r1"}`)})
		r.wantError(linkID, wire.CodePairingInvalid)
		r.finish()
		synctest.Wait()
		if c.phone.Connected(c.agent.id) || len(c.phone.served) != 0 {
			t.Errorf("connected %v, served %d", c.phone.Connected(c.agent.id), len(c.phone.served))
		}
	})
}

// TestUnpairedHere: the agent's own user unpairs the phone.
func TestUnpairedHere(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		if err := c.agent.trust.Remove(c.phone.id); err != nil {
			t.Fatal(err)
		}
		c.agent.Disconnect(c.phone.id, wire.NewError(wire.CodePairingInvalid))
		c.phone.until(func() bool { return c.phone.unpaired == 1 })
		c.agent.until(func() bool { return c.agent.down == 1 })
		if c.agent.unpaired != 0 {
			t.Error("told of its own unpairing")
		}
		if _, err := c.askList(t.Context()); wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("asking afterwards: %v", err)
		}
		before := c.net.dialled()
		time.Sleep(time.Minute)
		if c.net.dialled() != before {
			t.Error("still dialling")
		}
	})
}

// TestNewestReplaces: a phone that comes back before its old link is known to
// be dead is not locked out.
func TestNewestReplaces(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		c.net.hole()
		again := newActor(t, "laptop", func(cfg *Config) { cfg.Key, cfg.Trust, cfg.Routes = c.agent.key, c.agent.trust, []Route{c.net} })
		defer again.run()()
		again.until(func() bool { return again.up == 1 })
		c.phone.until(func() bool { return c.phone.up == 2 })
		if c.phone.down != 1 || !errors.Is(c.phone.lastReason(), ErrReplaced) {
			t.Errorf("down %d: %v", c.phone.down, c.phone.lastReason())
		}
	})
}

// How long a device's answer takes is known whenever it is asked for, and a link that
// swallows the question is no answer.
func TestRoundTrip(t *testing.T) {
	c := newCouple(t, nil)
	defer c.start()()
	c.linked()
	for range 3 {
		if err := c.agent.RoundTrip(t.Context(), c.phone.id); err != nil {
			t.Fatal(err)
		}
	}
	if took := c.agent.Peers()[0].RoundTrip; took <= 0 || took > time.Minute {
		t.Errorf("a round trip of %v", took)
	}
	if err := c.agent.RoundTrip(t.Context(), device.ID{1}); wire.CodeOf(err) != wire.CodePhoneNotReachable {
		t.Errorf("with an unknown device: %v", err)
	}
	c.net.hole()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.agent.RoundTrip(ctx, c.phone.id); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	c.net.setRefuse(true) // the next one
	time.AfterFunc(0, c.net.cut)
	if err := c.agent.RoundTrip(t.Context(), c.phone.id); wire.CodeOf(err) != wire.CodePhoneNotReachable {
		t.Errorf("over a link that ends: %v", err)
	}
}
