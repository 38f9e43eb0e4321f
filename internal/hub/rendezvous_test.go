package hub

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

func newToken(t testing.TB) []byte {
	t.Helper()
	token := make([]byte, hubwire.TokenSize)
	if _, err := rand.Read(token); err != nil {
		t.Fatal(err)
	}
	return token
}

func (a *actor) waitsFor(token []byte, seconds int) {
	a.t.Helper()
	if m := a.asks(hubwire.Message{Type: hubwire.TypeRendezvous, Token: token, Seconds: seconds}); m.Type != hubwire.TypeDone {
		a.t.Fatalf("rendezvous: %+v", m)
	}
}

// A token lets one unpaired device open one stream, and is never told to anybody.
func TestRendezvous(t *testing.T) {
	h := newHub(t)
	rendezvousBetween(t, h, h)
}

func rendezvousBetween(t *testing.T, one, other *testHub) {
	agent, phone, late := newActor(t), newActor(t), newActor(t)
	agent.connect(one)
	phone.connect(other, agent.id)
	late.connect(other)
	token := newToken(t)
	agent.waitsFor(token, 60)
	waitFor(t, "the other hub to hear of the agent", func() bool {
		other.mu.RLock()
		defer other.mu.RUnlock()
		_, known := other.allowOf(agent.id)
		return known
	})

	phone.sends(hubwire.KindOpen, agent, 1, "")
	phone.wantsClose(agent, 1, hubwire.ReasonUnreached)
	phone.sends(hubwire.KindOpen, agent, 2, string(newToken(t)))
	phone.wantsClose(agent, 2, hubwire.ReasonWrongToken)
	phone.sends(hubwire.KindOpen, agent, 3, string(token))
	agent.wants(hubwire.KindOpen, phone, 3, "") // without the token
	phone.sends(hubwire.KindData, agent, 3, "hello")
	agent.wants(hubwire.KindData, phone, 3, "hello")
	agent.sends(hubwire.KindData, phone, 3, "welcome")
	phone.wants(hubwire.KindData, agent, 3, "welcome")

	late.sends(hubwire.KindOpen, agent, 4, string(token))
	late.wantsClose(agent, 4, hubwire.ReasonWrongToken)
	agent.nothing()

	// Right tokens are no guesses, as soon as the agent's hub has said that they
	// were right.
	guesses := func() int {
		other.mu.RLock()
		c := other.local[phone.id]
		other.mu.RUnlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.guesses
	}
	waitFor(t, "the first right token to be told", func() bool { return guesses() == 1 })
	for stream := range uint64(2 * MaxWrongTokens) {
		token = newToken(t)
		agent.waitsFor(token, 60)
		phone.sends(hubwire.KindOpen, agent, 10+stream, string(token))
		agent.wants(hubwire.KindOpen, phone, 10+stream, "")
		phone.sends(hubwire.KindClose, agent, 10+stream, "\x00")
		agent.wantsClose(phone, 10+stream, hubwire.ReasonClosed)
		waitFor(t, "the right token to be told", func() bool { return guesses() == 1 })
	}

	agent.waitsFor(token, 60)
	agent.waitsFor(nil, 0)
	phone.sends(hubwire.KindOpen, agent, 5, string(token))
	phone.wantsClose(agent, 5, hubwire.ReasonWrongToken)
	for _, h := range []*testHub{one, other} {
		if text := h.log.String(); strings.Contains(text, string(token)) || strings.Contains(text, hex.EncodeToString(token)) {
			t.Error("the log tells the token")
		}
	}
}

// A token ends with its time, which is never more than five minutes.
func TestRendezvousEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			seconds int
			life    time.Duration
		}{{1, time.Second}, {120, 2 * time.Minute}, {3600, MaxRendezvous}, {1 << 62, MaxRendezvous}} {
			for _, late := range []bool{false, true} {
				c := &conn{hub: &Hub{limits: DefaultLimits}}
				c.over.Store(true) // answers go nowhere
				c.takeRendezvous(hubwire.Message{ID: 1, Token: bytes.Repeat([]byte{1}, hubwire.TokenSize), Seconds: test.seconds})
				time.Sleep(test.life - time.Millisecond)
				if late {
					time.Sleep(2 * time.Millisecond)
				}
				if c.spendToken(c.rendezvous.hash[:]) == late {
					t.Errorf("%d s, late %v", test.seconds, late)
				}
				if c.rendezvous != nil {
					t.Error("the token can be used again")
				}
			}
		}
	})
}

func TestMalformedRendezvous(t *testing.T) {
	h := newHub(t)
	agent := newActor(t).connect(h)
	for _, seconds := range []int{0, -1} {
		if m := agent.asks(hubwire.Message{Type: hubwire.TypeRendezvous, Token: newToken(t), Seconds: seconds}); m.Code != hubwire.CodeMalformed {
			t.Errorf("%d s: %+v", seconds, m)
		}
	}
}

// An attacker who tries ten thousand tokens gets five answers on a connection,
// and then connections only now and then. The agent notices nothing and the
// right phone gets in.
func TestTenThousandTokens(t *testing.T) {
	h := newHub(t)
	agent, phone := newActor(t), newActor(t)
	agent.connect(h)
	phone.connect(h)
	token := newToken(t)
	agent.waitsFor(token, 60)
	tried := guessTokens(t, h, agent, 10_000)
	if tried > 2*MaxWrongTokens {
		t.Errorf("%d tokens were tried", tried)
	}
	agent.nothing()
	phone.sends(hubwire.KindOpen, agent, 1, string(token))
	agent.wants(hubwire.KindOpen, phone, 1, "")
	// It is counted once all of the connection is over, which the attacker sees first.
	waitFor(t, "the count of those sent away for guessing", func() bool { return h.Stats().Ended["guessing"] > 0 })
}

// guessTokens sends n wrong tokens, on as many connections as it is given, and
// returns how many were answered.
func guessTokens(t *testing.T, h *testHub, victim *actor, n int) (answered int) {
	for sent := 0; sent < n; {
		attacker := newActor(t)
		if _, err := attacker.tryConnect(h, victim.id); err != nil {
			return answered // its address is kept out
		}
		for range min(n-sent, 500) {
			f := hubwire.Frame{Kind: hubwire.KindOpen, Peer: victim.id, Stream: uint64(sent), Payload: newToken(t)}
			if writeFrame(attacker, f) != nil {
				break
			}
			sent++
		}
		attacker.isCut()
		attacker.mu.Lock()
		for _, f := range attacker.frames {
			if f.Kind != hubwire.KindClose || f.Payload[0] != byte(hubwire.ReasonWrongToken) {
				t.Errorf("a wrong token got kind %d", f.Kind)
			}
			answered++
		}
		attacker.mu.Unlock()
	}
	return answered
}

// An offline device, one that waits for nobody, and one that waits for another
// token are the same to who has a wrong token.
func TestWrongTokensTellNothing(t *testing.T) {
	h := newHub(t)
	idle, absent := newActor(t), newActor(t)
	idle.connect(h)
	attacker := newActor(t).connect(h)
	for stream, id := range []device.ID{idle.id, absent.id} {
		if err := writeFrame(attacker, hubwire.Frame{Kind: hubwire.KindOpen, Peer: id, Stream: uint64(stream), Payload: newToken(t)}); err != nil {
			t.Fatal(err)
		}
		if f := attacker.frame(); f.Kind != hubwire.KindClose || f.Payload[0] != byte(hubwire.ReasonWrongToken) {
			t.Errorf("device %d: %+v", stream, f)
		}
	}
}
