package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
)

// lan is a local network in memory: a Route, a Finder and a net.Listener. It can
// be pulled and plugged in.
type lan struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	away   bool
	hole   bool // packets vanish
	dials  int
	open   []net.Conn
	found  func(device.ID)
	finder chan struct{}
}

func newLAN(away bool) *lan {
	return &lan{conns: make(chan net.Conn), done: make(chan struct{}), away: away, finder: make(chan struct{})}
}

func (l *lan) Name() string   { return "lan" }
func (l *lan) Addr() net.Addr { return &net.TCPAddr{} }
func (l *lan) Close() error   { l.once.Do(func() { close(l.done) }); return nil }

func (l *lan) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *lan) Dial(ctx context.Context, _ device.Peer, secure link.Secure) (*tls.Conn, string, error) {
	l.mu.Lock()
	away, hole := l.away, l.hole
	l.dials++
	l.mu.Unlock()
	if away {
		return nil, "", link.ErrNoRoute
	}
	if hole {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	l.mu.Lock()
	l.open = append(l.open, near, far)
	l.mu.Unlock()
	c, err := secure(ctx, near)
	return c, "tcp:192.0.2.1:1", err
}

func (l *lan) Find(ctx context.Context, found func(device.ID)) {
	l.mu.Lock()
	l.found = found
	close(l.finder)
	l.mu.Unlock()
	<-ctx.Done()
}

// plug connects or pulls the network; tell says whether the phone is found, as
// DNS-SD does.
func (l *lan) plug(in bool, tell ...device.ID) {
	l.mu.Lock()
	l.away = !in
	if !in {
		for _, c := range l.open {
			_ = c.Close()
		}
		l.open = nil
	}
	l.mu.Unlock()
	<-l.finder
	for _, id := range tell {
		l.found(id)
	}
}

// attempts returns how often it was dialled.
func (l *lan) attempts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials
}

func (l *lan) swallow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hole = true
}

// twoRoutes is a couple with a local network and a hub.
type twoRoutes struct {
	*couple
	lan *lan
	hub *hubtest.Hub
}

func withTwoRoutes(t *testing.T, away bool, test func(t *testing.T, c *twoRoutes)) {
	synctest.Test(t, func(t *testing.T) {
		c := &twoRoutes{lan: newLAN(away), hub: hubtest.New(hubURL)}
		at := inMemory(c.hub)
		c.couple = &couple{agent: newAgent(t, "laptop", at, c.lan), phone: newPhone(t, "phone", at)}
		c.agent.trusts(c.phone)
		c.phone.trusts(c.agent)
		defer c.hub.Wait()
		defer c.phone.serves(c.lan)()
		defer c.start()()
		test(t, c)
	})
}

// TestBetterRoute: linked through the hub, the two come into one network. The
// local route takes over as soon as the phone is found, and the request that
// waits goes on; shown once.
func TestBetterRoute(t *testing.T) {
	withTwoRoutes(t, true, func(t *testing.T, c *twoRoutes) {
		release := make(chan struct{})
		c.phone.serve = approving(release)
		c.agent.linkedBy("hub:")
		time.Sleep(10 * time.Minute)
		got := c.agent.askSign(t.Context(), c.phone)
		synctest.Wait()
		c.lan.plug(true, c.phone.id)
		began := time.Now()
		c.agent.linkedBy("tcp:")
		if took := time.Since(began); took > link.BetterMin {
			t.Errorf("took %v", took)
		}
		close(release)
		if err := <-got; err != nil || len(c.phone.served) != 1 {
			t.Errorf("%v, shown %d times", err, len(c.phone.served))
		}
		time.Sleep(time.Hour)
		if c.agent.up != 2 || c.agent.down != 1 {
			t.Errorf("%d links, ended by %v", c.agent.up, c.agent.reasons)
		}
	})
}

// TestBetterRouteByItself: nothing tells of the phone, where multicast does not
// pass. Last known addresses are tried, seldom.
func TestBetterRouteByItself(t *testing.T) {
	withTwoRoutes(t, true, func(t *testing.T, c *twoRoutes) {
		c.agent.linkedBy("hub:")
		time.Sleep(time.Hour)
		if n := c.lan.attempts(); n < 25 || n > 45 {
			t.Errorf("%d attempts in an hour", n)
		}
		c.lan.plug(true)
		began := time.Now()
		c.agent.linkedBy("tcp:")
		if took := time.Since(began); took > link.Better+link.BetterMin {
			t.Errorf("took %v", took)
		}
	})
}

// TestLoseEither: a request waits while first the local network goes, then comes
// back, and then the hub goes. It is answered, and was shown once.
func TestLoseEither(t *testing.T) {
	withTwoRoutes(t, false, func(t *testing.T, c *twoRoutes) {
		release := make(chan struct{})
		c.phone.serve = approving(release)
		c.agent.linked()
		if c.agent.routes[0][:4] != "tcp:" {
			c.agent.linkedBy("tcp:") // the hub was quicker, for a moment
		}
		got := c.agent.askSign(t.Context(), c.phone)
		synctest.Wait()
		c.lan.plug(false)
		began := time.Now()
		c.agent.linkedBy("hub:")
		if took := time.Since(began); took > time.Second {
			t.Errorf("the hub took over after %v", took)
		}
		c.lan.plug(true, c.phone.id)
		c.agent.linkedBy("tcp:")
		links := c.agent.up
		c.hub.Refuse(true)
		c.hub.Cut(c.agent.id)
		c.hub.Cut(c.phone.id)
		time.Sleep(time.Minute)
		if c.agent.up != links || c.agent.down != links-1 {
			t.Errorf("the link went with the hub: %v", c.agent.reasons)
		}
		close(release)
		if err := <-got; err != nil || len(c.phone.served) != 1 {
			t.Errorf("%v, shown %d times", err, len(c.phone.served))
		}
	})
}

// TestHubWithoutLAN: the hub's link dies while the better route is being tried
// and does not answer. The next link does not wait for that.
func TestHubWithoutLAN(t *testing.T) {
	withTwoRoutes(t, true, func(t *testing.T, c *twoRoutes) {
		c.agent.linkedBy("hub:")
		c.lan.swallow()
		c.lan.plug(true, c.phone.id)
		time.Sleep(link.BetterMin + time.Second)
		began := time.Now()
		c.hub.Cut(c.phone.id)
		c.agent.until(func() bool { return c.agent.down == 1 })
		if took := time.Since(began); took > time.Second {
			t.Errorf("down after %v", took)
		}
		c.lan.plug(false)
		c.agent.linkedBy("hub:")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("up again after %v", took)
		}
	})
}

// TestPairByEither: an invitation names an address and the hub. Pairing works
// while either of them is gone.
func TestPairByEither(t *testing.T) {
	for _, lost := range []string{"none", "lan", "hub"} {
		t.Run(lost, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, l := hubtest.New(hubURL), newLAN(lost == "lan")
				defer h.Wait()
				agent := newAgent(t, "laptop", inMemory(h))
				phone := newPhone(t, "phone", inMemory(h), l)
				defer agent.start()()
				inv := inviting(t, agent, "tcp:192.0.2.1:1", relay.Route(hubURL))
				defer agent.serves(l)()
				if lost == "hub" {
					h.Refuse(true)
					h.Cut(agent.id)
				}
				defer phone.start()()
				if _, err := phone.Pair(t.Context(), inv, nil); err != nil {
					t.Fatal(err)
				}
				if _, err := agent.trust.Get(phone.id); err != nil {
					t.Error(err)
				}
				if _, err := phone.Pair(t.Context(), inv, nil); !errors.Is(err, device.ErrInvitationEnded) {
					t.Errorf("second use: %v", err)
				}
			})
		})
	}
}
