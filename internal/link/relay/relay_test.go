package relay_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
	"vmux/internal/wire"
)

// TestLink: two devices that see nothing but a hub have a link.
func TestLink(t *testing.T) {
	withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
		if err := c.agent.askList(t.Context(), c.phone); err != nil {
			t.Fatal(err)
		}
		if c.agent.routes[0] != "hub:https://hub.example" || c.phone.routes[0] != "hub:https://hub.example" {
			t.Errorf("routes %q, %q", c.agent.routes, c.phone.routes)
		}
		synctest.Wait() // the route is noted once the link is up
		p := must(c.agent.trust.Get(c.phone.id))
		if len(p.Routes) != 1 || p.Routes[0] != relay.Route(hubURL) {
			t.Errorf("last known routes %q", p.Routes)
		}
		if s := c.agent.Client.Status(); !s.Connected || s.LastError != nil || s.VAPIDKey != hubtest.VAPIDKey || s.Since.IsZero() {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Hour)
		if c.agent.up != 1 || h.Connects() != 2 {
			t.Errorf("%d links, %d connections within an hour", c.agent.up, h.Connects())
		}
	})
}

// TestComeAndGo: whoever comes to the hub is linked at once, not when some
// back-off ends.
func TestComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		c := newCouple(t, inMemory(h))
		defer h.Wait()
		defer c.agent.start()()
		time.Sleep(10 * time.Minute)
		stop := c.phone.start()
		began := time.Now()
		c.linked()
		if took := time.Since(began); took > time.Second {
			t.Errorf("linked after %v", took)
		}
		stop()
		c.agent.until(func() bool { return c.agent.down == 1 })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

// TestHubRestarts: the hub is away for minutes. A request that waits is answered
// afterwards, and shown once.
func TestHubRestarts(t *testing.T) {
	withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
		release := make(chan struct{})
		c.phone.serve = approving(release)
		got := c.agent.askSign(t.Context(), c.phone)
		synctest.Wait()
		h.Refuse(true)
		h.Cut(c.agent.id)
		h.Cut(c.phone.id)
		c.agent.until(func() bool { return c.agent.down == 1 })
		synctest.Wait()
		if s := c.agent.Client.Status(); s.Connected || !errors.Is(s.LastError, relay.ErrHubLost) {
			t.Errorf("status %+v", s)
		}
		before := h.Connects()
		time.Sleep(5 * time.Minute)
		if n := h.Connects() - before; n < 30 || n > 90 { // two devices, back-off to 15 s
			t.Errorf("%d attempts in five minutes", n)
		}
		h.Refuse(false)
		began := time.Now()
		c.agent.Client.Wake()
		c.phone.Client.Wake()
		c.linked()
		if took := time.Since(began); took > time.Second {
			t.Errorf("back after %v", took)
		}
		close(release)
		if err := <-got; err != nil || len(c.phone.served) != 1 {
			t.Errorf("%v, shown %d times", err, len(c.phone.served))
		}
	})
}

// TestHalfOpen: packets vanish without a reset. The device notices within 15 s,
// within 3 s after Wake, and comes back.
func TestHalfOpen(t *testing.T) {
	withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
		for _, wake := range []bool{false, true} {
			c.linked()
			time.Sleep(61 * time.Second)
			began, since := time.Now(), c.phone.Client.Status().Since
			h.Hole(c.phone.id)
			limit := 15 * time.Second
			if wake {
				c.phone.Client.Wake()
				limit = 5 * time.Second
			}
			for c.phone.Client.Status().Since == since || !c.phone.Client.Status().Connected {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took > limit {
				t.Errorf("back after %v", took)
			}
			c.linked()
			if err := c.agent.askList(t.Context(), c.phone); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWrongOrigin: a hub passes on the challenge of another, to come by a
// signature with which it could pose as the device there. It gets none.
func TestWrongOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evilhub := hubtest.New(hubURL)
		evilhub.Challenge = func(m *hubwire.Message) { m.Origin = "https://other.example" }
		a := newPhone(t, "phone", inMemory(evilhub))
		defer evilhub.Wait()
		defer a.start()()
		time.Sleep(time.Minute)
		if s := a.Client.Status(); s.Connected || !errors.Is(s.LastError, relay.ErrWrongOrigin) || !strings.Contains(wire.HintOf(s.LastError), "--hub https://other.example, ") {
			t.Errorf("status %+v, hint %q", s, wire.HintOf(s.LastError))
		}
		if sent := evilhub.Record(); len(sent) != 0 {
			t.Errorf("the device said %s", sent)
		}
	})
}

// TestReplaced: somebody else has the same key, from a copy of the state. The first one keeps away for a while and comes back.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		at := inMemory(h)
		a := newPhone(t, "phone", at)
		defer h.Wait()
		defer a.start()()
		synctest.Wait()
		second := a.newClient(at)
		stop := inBackground(second.Run)
		synctest.Wait()
		var refused *relay.Error
		if s := a.Client.Status(); s.Connected || !errors.As(s.LastError, &refused) || refused.Code != hubwire.CodeReplaced || !strings.Contains(wire.HintOf(s.LastError), "a copy of its folder") {
			t.Errorf("status %+v, hint %q", s, wire.HintOf(s.LastError))
		}
		time.Sleep(7 * time.Second)
		if a.Client.Status().Connected || !second.Status().Connected {
			t.Error("the first one did not keep away")
		}
		stop()
		time.Sleep(9 * time.Second)
		if !a.Client.Status().Connected {
			t.Error("the first one did not come back")
		}
	})
}

// TestErrands: what a device asks of its hub.
func TestErrands(t *testing.T) {
	withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
		var refused *relay.Error
		if err := c.agent.Client.WakePeer(t.Context(), c.phone.id); !errors.As(err, &refused) || refused.Code != hubwire.CodeNotSubscribed {
			t.Errorf("without a subscription: %v", err)
		}
		subscription := `{"endpoint":"https://push.example/1"}`
		if err := c.phone.Client.Subscribe(t.Context(), []byte(subscription)); err != nil || h.Subscription(c.phone.id) != subscription {
			t.Errorf("%v, %q", err, h.Subscription(c.phone.id))
		}
		if err := c.agent.Client.WakePeer(t.Context(), c.phone.id); err != nil || len(h.Woken()) != 1 || h.Woken()[0] != c.phone.id {
			t.Errorf("%v, %v", err, h.Woken())
		}
		if err := c.phone.Client.Subscribe(t.Context(), []byte("{")); !errors.As(err, &refused) || refused.Code != hubwire.CodeMalformed {
			t.Errorf("no JSON: %v", err)
		}
		if err := c.phone.Client.Subscribe(t.Context(), make([]byte, hubwire.MaxSubscription+1)); err == nil {
			t.Error("a subscription over the limit was sent")
		}
		if err := c.phone.Client.Subscribe(t.Context(), nil); err != nil || h.Subscription(c.phone.id) != "" {
			t.Errorf("%v, %q", err, h.Subscription(c.phone.id))
		}
	})
}

// TestRefresh: who is not allowed does not get through, and who is allowed
// later does then.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		agent, phone := newAgent(t, "laptop", inMemory(h)), newPhone(t, "phone", inMemory(h))
		agent.trusts(phone)
		defer h.Wait()
		defer phone.start()()
		defer agent.start()()
		time.Sleep(time.Minute)
		if agent.up+phone.up != 0 {
			t.Fatal("linked")
		}
		last := agent.Peers()[0].LastError
		if last == nil || !strings.Contains(last.Error(), "not at the hub") {
			t.Errorf("why there is no link: %v", last)
		}
		phone.trusts(agent)
		phone.Client.Refresh()
		began := time.Now()
		agent.linked()
		if took := time.Since(began); took > time.Second {
			t.Errorf("linked after %v", took)
		}
		if err := phone.trust.Remove(agent.id); err != nil {
			t.Fatal(err)
		}
		phone.Disconnect(agent.id, link.ErrUnpairedHere)
		phone.Client.Refresh()
		agent.until(func() bool { return agent.down == 1 })
	})
}

// TestBadURL: what cannot be a hub's URL is refused before anything is dialled.
func TestBadURL(t *testing.T) {
	for _, u := range []string{"", "http://hub.example", "ftp://hub.example", "https://hub.example/?x"} {
		if _, err := relay.New(relay.Config{URL: u}); !errors.Is(err, wire.ErrHubURL) {
			t.Errorf("%q: %v", u, err)
		}
	}
	if u, ok := relay.URL(relay.Route(hubURL)); !ok || u != hubURL {
		t.Errorf("%q, %v", u, ok)
	}
	if _, ok := relay.URL("tcp:192.0.2.1:1"); ok {
		t.Error("an address is no hub")
	}
}

// inviting is an agent with an open invitation whose routes lead to the hub.
func inviting(t *testing.T, agent *actor, routes ...string) device.Invitation {
	t.Helper()
	inv := device.NewInvitation(agent.id, "laptop", routes, hubURL+"/")
	agent.Offer(device.NewOffer(inv, time.Now()))
	end, err := agent.Client.Rendezvous(t.Context(), inv.RendezvousToken(), device.InvitationLife)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return must(device.ParseInvitation(inv.URL()))
}

// TestPair: a phone that the hub alone connects with the agent pairs, and stays
// linked.
func TestPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		agent, phone := newAgent(t, "laptop", inMemory(h)), newPhone(t, "phone", inMemory(h))
		defer h.Wait()
		defer agent.start()()
		inv := inviting(t, agent, relay.Route(hubURL))
		defer phone.start()()
		if _, err := phone.Pair(t.Context(), inv, []string{relay.Route(hubURL)}); err != nil {
			t.Fatal(err)
		}
		agent.linked()
		phone.linked()
		if err := agent.askList(t.Context(), phone); err != nil {
			t.Error(err)
		}
		other := newPhone(t, "otherphone", inMemory(h))
		defer other.start()()
		_, err := other.Pair(t.Context(), inv, nil)
		if !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("second use of the invitation: %v", err)
		}
		h.Cut(agent.id)
		agent.until(func() bool { return agent.up == 2 })
	})
}

// TestRendezvous: without the token nobody gets through; a network that breaks
// in the middle of pairing does not use the invitation up, nor does a
// connection of the agent's that is lost.
func TestRendezvous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		agent, phone := newAgent(t, "laptop", inMemory(h)), newPhone(t, "phone", inMemory(h))
		defer h.Wait()
		defer agent.start()()
		inv := inviting(t, agent, relay.Route(hubURL))
		defer phone.start()()

		attacker := newPhone(t, "attacker", inMemory(h))
		defer attacker.start()()
		guess := device.NewInvitation(agent.id, "laptop", []string{relay.Route(hubURL)}, "")
		if _, err := attacker.Pair(t.Context(), guess, nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("wrong token: %v", err)
		}
		elsewhere := device.NewInvitation(agent.id, "laptop", []string{"hub:https://other.example"}, "")
		if _, err := phone.Pair(t.Context(), elsewhere, nil); err == nil {
			t.Error("paired by the hub of another invitation")
		}

		packets := 0
		h.Tamper(func(p hubtest.Packet) []hubtest.Packet {
			if packets++; packets == 2 {
				go h.Cut(phone.id)
				return nil
			}
			return []hubtest.Packet{p}
		})
		if _, err := phone.Pair(t.Context(), inv, nil); !errors.Is(err, relay.ErrHubLost) {
			t.Errorf("with the network gone: %v", err)
		}
		h.Cut(agent.id)
		time.Sleep(30 * time.Second)
		if _, err := phone.Pair(t.Context(), inv, nil); err != nil {
			t.Error(err)
		}
	})
}
