package link

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// listener is an actor that is told when a hello changes.
type listener struct {
	*actor
	changed []wire.Hello
}

func (l *listener) HelloChanged(_ device.Peer, h wire.Hello) {
	l.note(func() { l.changed = append(l.changed, h) })
}

// changeable is a couple whose phone's policy can be changed, and whose agent
// listens.
func changeable(t *testing.T) (c *couple, agent *listener, automatic *atomic.Bool) {
	t.Helper()
	automatic = new(atomic.Bool)
	c = newCouple(t, nil)
	c.phone.role = func() wire.Hello { return wire.Hello{AutomaticIssuance: automatic.Load()} }
	agent = &listener{actor: c.agent}
	c.agent.handler = agent
	return c, agent, automatic
}

// What the phone says of itself can change while the link is up, and the link
// stays. A handler that does not want to know is not told, but its node knows.
func TestHelloAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, agent, automatic := changeable(t)
		defer c.start()()
		c.linked()
		automatic.Store(true)
		c.phone.HelloAgain()
		c.agent.HelloAgain()
		synctest.Wait()
		if len(agent.changed) != 1 || !agent.changed[0].AutomaticIssuance {
			t.Errorf("told of %+v", agent.changed)
		}
		if s := c.agent.Peers(); len(s) != 1 || !s[0].Hello.AutomaticIssuance {
			t.Errorf("status %+v", s)
		}
		if _, err := c.askList(t.Context()); err != nil {
			t.Error(err)
		}
		if c.agent.up != 1 || c.agent.down+c.phone.down != 0 {
			t.Errorf("the link did not stay: %v", c.agent.lastReason())
		}
	})
}

// A change between a connection's hello and its becoming a link is not lost.
func TestHelloChangesAtLinkUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, automatic := changeable(t)
		defer c.startPhone()()
		tc := must(c.agent.secureTo(c.phone.id)(t.Context(), must(c.net.open(t.Context()))))
		synctest.Wait() // the phone has said hello, and waits for the agent's
		automatic.Store(true)
		c.phone.HelloAgain()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.agent.exchangeHellos(ctx, newConn(tc), device.Peer{ID: c.phone.id}, "memory:x", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := c.agent.Peers(); len(s) != 1 || !s[0].Hello.AutomaticIssuance {
			t.Errorf("status %+v", s)
		}
		c.agent.Close()
	})
}

// attacker: a paired device that says hello over and over, and in words that
// are none. It is told so, and nothing is disturbed.
func TestHelloMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.startPhone()()
		r := c.dialRaw(t)
		defer r.finish()
		_ = r.send("again", wire.KindHello, wire.Hello{})
		r.wantError("again", wire.CodeMalformedRequest)
		for range 1000 {
			_ = r.send("more", wire.KindHello, c.agent.Node.hello(false))
		}
		_ = r.send("ping", wire.KindPing, nil)
		if e := r.next(); e.Kind != wire.KindPong {
			t.Errorf("answered by %s", e.Kind)
		}
	})
}
