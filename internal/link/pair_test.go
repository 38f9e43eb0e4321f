package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// inviting is an agent that listens with an open offer, and a phone that can
// dial it.
func inviting(t *testing.T) (agent, phone *actor, m *memory, offer *device.Offer) {
	m = newMemory()
	agent = newActor(t, "laptop")
	phone = newActor(t, "phone", func(c *Config) { c.Routes = []Route{m} })
	inv := device.NewInvitation(agent.id, "laptop", []string{"memory:x"}, "")
	offer = device.NewOffer(inv, time.Now())
	agent.Offer(offer)
	return agent, phone, m, offer
}

func listen(a *actor, m *memory) (stop func()) {
	end := a.accept(m)
	return func() { a.Close(); end() }
}

// TestPair: the invitation makes both trust each other, and the same channel
// becomes the link.
func TestPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, m, offer := inviting(t)
		defer listen(agent, m)()
		defer phone.Close()
		inv := must(device.ParseInvitation(offer.Invitation().URL()))
		p, err := phone.Pair(t.Context(), inv, []string{"tcp:192.0.2.7:41234"})
		if err != nil {
			t.Fatal(err)
		}
		agent.until(func() bool { return agent.up == 1 })
		phone.until(func() bool { return phone.up == 1 })
		if p.ID != agent.id || p.Name.String() != "laptop" || len(phone.paired) != 1 || len(agent.paired) != 1 {
			t.Errorf("paired %+v", p)
		}
		known, err := agent.trust.Get(phone.id)
		if err != nil || known.Name.String() != "phone" || len(known.Routes) != 1 || known.Routes[0] != "tcp:192.0.2.7:41234" {
			t.Errorf("agent knows %+v, %v", known, err)
		}
		if agent.hello.DeviceName != "phone" || phone.hello.DeviceName != "laptop" {
			t.Errorf("hellos %+v %+v", agent.hello, phone.hello)
		}
		if _, err := agent.Ask(t.Context(), phone.id, wire.KindKeyListRequest, wire.NewID(), nil, nil); err != nil {
			t.Error(err)
		}
		other := newActor(t, "otherphone", func(c *Config) { c.Routes = []Route{m} })
		defer other.Close()
		if _, err := other.Pair(t.Context(), inv, nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("second use of the invitation: %v", err)
		}
	})
}

// The connection that has paired two devices which can dial each other is their link.
// Neither replaces it by one of its own, which would end what is under way on it.
func TestPairingMakesOneLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, m, offer := inviting(t)
		m.late = true // becoming a link begins with a read deadline
		listening := newMemory()
		agent.Node.routes = []Route{listening}
		stopPhone := listen(phone, listening)
		defer agent.run()()
		defer phone.run()()
		defer stopPhone()
		defer listen(agent, m)()
		synctest.Wait() // both run
		if _, err := phone.Pair(t.Context(), offer.Invitation(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if agent.up != 1 || phone.up != 1 || agent.down+phone.down != 0 {
			t.Errorf("links of the agent %d, of the phone %d; ended %d and %d: %v", agent.up, phone.up, agent.down, phone.down, agent.reasons)
		}
		if m.dialled() != 1 || listening.dialled() != 0 {
			t.Errorf("dialled by the phone %d times, by the agent %d", m.dialled(), listening.dialled())
		}
	})
}

// TestPairAgain: the phone has forgotten the agent, which still trusts it.
func TestPairAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, m, offer := inviting(t)
		agent.trusts(phone)
		defer listen(agent, m)()
		defer phone.Close()
		if _, err := phone.Pair(t.Context(), offer.Invitation(), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPairOnly: a node without handler pairs and hangs up.
func TestPairOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, _, m, offer := inviting(t)
		defer listen(agent, m)()
		only := newActor(t, "phone", func(c *Config) { c.Routes = []Route{m}; c.Handler = nil })
		defer only.Close()
		if _, err := only.Pair(t.Context(), offer.Invitation(), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(agent.paired) != 1 || agent.up != 0 {
			t.Errorf("paired %d, links %d", len(agent.paired), agent.up)
		}
	})
}

// withWrongSecret returns the invitation with another secret.
func withWrongSecret(agent *actor) device.Invitation {
	return device.NewInvitation(agent.id, "laptop", []string{"memory:x"}, "")
}

// TestWrongSecret: five wrong proofs end the offer, for the right phone too.
func TestWrongSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, m, offer := inviting(t)
		defer listen(agent, m)()
		defer phone.Close()
		attacker := newActor(t, "attacker", func(c *Config) { c.Routes = []Route{m} })
		defer attacker.Close()
		for i := range device.MaxWrongProofs {
			_, err := attacker.Pair(t.Context(), withWrongSecret(agent), nil)
			if !errors.Is(err, device.ErrWrongProof) || wire.CodeOf(err) != wire.CodePairingInvalid {
				t.Fatalf("try %d: %v", i, err)
			}
		}
		if _, err := phone.Pair(t.Context(), offer.Invitation(), nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("afterwards: %v", err)
		}
		if peers := must(agent.trust.Peers()); len(peers) != 0 || len(agent.paired) != 0 {
			t.Errorf("trusts %v", peers)
		}
	})
}

// TestExpiredOffer: after five minutes nobody gets in.
func TestExpiredOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, m, offer := inviting(t)
		defer listen(agent, m)()
		defer phone.Close()
		time.Sleep(device.InvitationLife)
		if _, err := phone.Pair(t.Context(), offer.Invitation(), nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("%v", err)
		}
	})
}

// TestUnpairedIsTold: a device that is not paired is told so, offer or not, and
// learns no name.
func TestUnpairedIsTold(t *testing.T) {
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			agent, former, m, _ := inviting(t)
			if !open {
				agent.Offer(nil)
			}
			defer listen(agent, m)()
			former.trusts(agent) // it believes to be paired
			defer former.run()()
			former.until(func() bool { return former.unpaired == 1 })
			if former.up+agent.up != 0 {
				t.Error("link came up")
			}
			if s := former.Peers(); wire.CodeOf(s[0].LastError) != wire.CodePairingInvalid {
				t.Errorf("last error %v", s[0].LastError)
			}
		})
	}
}

// TestManInTheMiddle: somebody who sits between ends both handshakes with his
// own key. The phone, which pins the agent's ID, says nothing to him; an agent
// which dials finds another device.
func TestManInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, _, offer := inviting(t)
		defer agent.Close()
		evil := newMemory()
		middle := newActor(t, "middle")
		phone.Node.routes = []Route{evil}
		defer phone.Close()
		middle.Offer(device.NewOffer(withWrongSecret(middle), time.Now()))
		defer listen(middle, evil)()
		if _, err := phone.Pair(t.Context(), offer.Invitation(), nil); !errors.Is(err, ErrWrongDevice) {
			t.Errorf("pairing through the middle: %v", err)
		}
		phone.trusts(agent)
		defer phone.run()()
		time.Sleep(time.Minute)
		synctest.Wait()
		if phone.up+middle.up != 0 || len(phone.served) != 0 {
			t.Error("link through the middle")
		}
		if s := phone.Peers(); !errors.Is(s[0].LastError, ErrWrongDevice) {
			t.Errorf("last error %v", s[0].LastError)
		}
	})
}

// TestProofCarriedOver: the middle has got hold of a phone's proof for another
// channel and presents it on his own.
func TestProofCarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, _, m, offer := inviting(t)
		defer listen(agent, m)()
		attacker := newActor(t, "attacker")
		channel := func() (*raw, *tls.ConnectionState) {
			tc := must(attacker.secureTo(agent.id)(t.Context(), must(m.open(t.Context()))))
			cs := tc.ConnectionState()
			return &raw{newConn(tc), t}, &cs
		}
		r1, cs1 := channel()
		defer r1.finish()
		proof := must(offer.Invitation().PhoneProof(cs1))
		r2, _ := channel()
		defer r2.finish()
		_ = r2.send("h", wire.KindHello, attacker.Node.hello(true))
		var h wire.Hello
		if e := r2.next(); json.Unmarshal(e.Body, &h) != nil || h.DeviceName != "" || h.OpenSSHVersion != "" {
			t.Errorf("hello before pairing: %s", e.Body)
		}
		_ = r2.send("p", wire.KindPairRequest, wire.PairRequest{Proof: proof, DeviceName: "attacker"})
		r2.wantError(linkID, wire.CodePairingInvalid)
	})
}

// TestSilentConnection: connections that say nothing are closed in time, and are
// never more than the limit.
func TestSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.startPhone()()
		for range MaxUnauthenticatedPerHost {
			must(c.net.open(t.Context()))
		}
		synctest.Wait()
		p := must(c.net.open(t.Context()))
		began := time.Now()
		if _, err := p.Read(make([]byte, 1)); err == nil || time.Since(began) != 0 {
			t.Errorf("one too many: %v after %v", err, time.Since(began))
		}
		time.Sleep(handshakeTime + closeTimeout)
		synctest.Wait()
		r := c.dialRaw(t) // there is room again
		r.finish()
	})
}

// FuzzReadFrame: whatever comes, the reader returns an error or a frame that
// encodes to the same bytes, and never more than the limit.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0, 8, 0, 1, '{'})
	f.Add([]byte{0, 0, 0, 0})
	f.Add(must(wire.NewFrame("a", wire.KindPing, nil)))
	f.Add(append([]byte{0, 0, 0x80, 0}, bytes.Repeat([]byte("x"), 0x8000)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readFrame(bufio.NewReader(bytes.NewReader(in)), maxHelloFrame)
		if err != nil {
			return
		}
		if len(b) > maxHelloFrame || len(in) < 4 || !bytes.Equal(in[4:4+len(b)], b) {
			t.Fatalf("read %d bytes that were not sent", len(b))
		}
	})
}

// invitingOnce is an agent that stops listening as soon as it is paired.
type invitingOnce struct {
	*actor
	stop func()
}

func (i *invitingOnce) Paired(p device.Peer) {
	i.actor.Paired(p)
	i.stop()
}

// Once it is paired the agent closes its listener, and with it the connection
// that has paired if that is no link yet. By then both have stored the pairing:
// the phone is told of a success, whether it stays to link up or not, and
// whatever becomes of that connection.
func TestPairingSurvivesTheListenersEnd(t *testing.T) {
	for name, stays := range map[string]bool{"a phone that stays": true, "a phone that only pairs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent, phone, m, offer := inviting(t)
				ctx, cancel := context.WithCancel(context.Background())
				agent.handler = &invitingOnce{agent, func() { cancel(); m.cut() }}
				if !stays {
					phone.handler = nil
				}
				ended := make(chan struct{})
				go func() { defer close(ended); _ = agent.Node.Serve(ctx, m) }()
				defer func() { agent.Close(); cancel(); <-ended }()
				defer phone.Close()
				p, err := phone.Pair(t.Context(), offer.Invitation(), nil)
				if err != nil || p.ID != agent.id {
					t.Fatalf("paired with %v, %v", p.ID, err)
				}
				agent.until(func() bool { return len(agent.paired) == 1 })
				for _, side := range []struct{ a, b *actor }{{agent, phone}, {phone, agent}} {
					if _, err := side.a.trust.Get(side.b.id); err != nil {
						t.Errorf("%s does not know %s: %v", side.a.name, side.b.name, err)
					}
				}
			})
		})
	}
}

// slowToStore is a phone that listens while it is being paired. It has proved to know
// the invitation, has the agent's proof, and has stored nothing yet.
func slowToStore(t *testing.T) (agent, phone *actor, pairing *raw, stop func()) {
	t.Helper()
	agent, phone, m, offer := inviting(t)
	listening := newMemory()
	agent.Node.routes = []Route{listening}
	stopPhone, stopAgent, stopListening := listen(phone, listening), agent.run(), listen(agent, m)
	tc := must(phone.secureTo(agent.id)(t.Context(), must(m.open(t.Context()))))
	cs := tc.ConnectionState()
	pairing = &raw{newConn(tc), t}
	_ = pairing.send("h", wire.KindHello, phone.Node.hello(true))
	pairing.next()
	request := wire.PairRequest{Proof: must(offer.Invitation().PhoneProof(&cs)), DeviceName: "phone"}
	_ = pairing.send("p", wire.KindPairRequest, request)
	if e := pairing.next(); e.Kind != wire.KindPairResponse {
		t.Fatalf("answered by %s: %s", e.Kind, e.Body)
	}
	return agent, phone, pairing, func() { stopAgent(); stopListening(); stopPhone() }
}

// The agent trusts the phone a moment before the phone trusts the agent. It must
// not dial in that moment: the phone would say, truly, that it
// does not know the agent, and the pairing would be gone.
func TestPairingIsNotEndedBeforeThePhoneHasStoredIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, phone, pairing, stop := slowToStore(t)
		defer stop()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if agent.unpaired != 0 || len(agent.paired) != 0 {
			t.Fatalf("told of %d unpairings and %d pairings", agent.unpaired, len(agent.paired))
		}
		phone.trusts(agent)
		began := time.Now()
		pairing.finish()
		agent.until(func() bool { return agent.up == 1 })
		if waited := time.Since(began); waited > time.Second || agent.unpaired != 0 || len(agent.paired) != 1 {
			t.Errorf("linked after %s, %d unpairings, %d pairings", waited, agent.unpaired, len(agent.paired))
		}
	})
}

// A phone that has forgotten the agent is asked, and answers only after both have
// been paired anew: it speaks of what was.
func TestAnswerOfTheTimeBeforeThePairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.agent.Close()
		defer c.phone.Close()
		before := must(c.agent.trust.Get(c.phone.id))
		anew := before
		anew.PairedAt = time.Now()
		if err := c.agent.trust.Add(anew); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			asked device.Peer
			told  int
		}{{before, 0}, {anew, 1}, {anew, 1}} {
			c.agent.endPairing(c.agent.peerLocked(c.phone.id), test.asked, errNotPaired)
			if c.agent.unpaired != test.told {
				t.Errorf("told %d times, want %d", c.agent.unpaired, test.told)
			}
		}
	})
}
