package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
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

// TestEvilHub: whatever a hub does to what it carries, the phone is shown what
// the agent asked, once, and the agent gets the answer to that, or none. When
// the hub behaves again, the link recovers and what waits is answered.
func TestEvilHub(t *testing.T) {
	for name, misdeed := range hubtest.Misdeeds {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { underEvilHub(t, rand.New(rand.NewPCG(seed, 7)), misdeed) })
			})
		}
	}
}

func underEvilHub(t *testing.T, r *rand.Rand, misdeed hubtest.Misdeed) {
	evilhub := hubtest.New(hubURL)
	evilhub.Blind = true
	c := newCouple(t, inMemory(evilhub))
	attacker := newPhone(t, "attacker", inMemory(evilhub))
	attacker.trusts(c.agent)
	attacker.trusts(c.phone)
	answer := func(_ context.Context, req *link.Request) (wire.Kind, any) {
		return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("approved " + req.Envelope.ID)}
	}
	c.phone.serve = answer
	attacker.serve = answer
	defer evilhub.Wait()
	defer attacker.start()()
	defer c.start()()
	c.linked()

	evilhub.Tamper(misdeed(r, attacker.id))
	asked := map[string]bool{}
	var waiting sync.WaitGroup
	for i := range 20 {
		id := wire.NewID()
		asked[id] = true
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			body := wire.RemoteSignRequest{Asking: wire.Asking{RequestID: id}, DataToSign: []byte(secretData)}
			e, err := c.agent.Ask(ctx, c.phone.id, wire.KindSignRequest, id, body, nil)
			if err == nil && !strings.Contains(string(e.Body), base64.StdEncoding.EncodeToString([]byte("approved "+id))) {
				err = fmt.Errorf("the answer to another request: %s", e.Body)
			}
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
		time.Sleep(rand.N(5 * time.Second))
	}
	evilhub.Tamper(nil)
	began := time.Now()
	waiting.Wait()
	c.agent.linked()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("recovered after %v", took)
	}
	synctest.Wait()
	c.checkServed(t, asked)
	if len(attacker.served)+attacker.up+c.agent.paired+c.phone.paired != 0 {
		t.Error("the attacker is in")
	}
	checkRecord(t, evilhub)
}

const secretData = "the bytes that are to be signed, which nobody else may read"

// checkServed: the phone was shown what was asked, as it was asked, once.
func (c *couple) checkServed(t *testing.T, asked map[string]bool) {
	t.Helper()
	shown := map[string]bool{}
	for _, e := range c.phone.served {
		var r wire.RemoteSignRequest
		if err := json.Unmarshal(e.Body, &r); err != nil || !asked[e.ID] || r.RequestID != e.ID || string(r.DataToSign) != secretData {
			t.Errorf("the phone was shown what nobody asked: %s %s", e.ID, e.Body)
		}
		if shown[e.ID] {
			t.Errorf("request %s was shown twice", e.ID)
		}
		shown[e.ID] = true
	}
}

// checkRecord: all that the hub saw is its own vocabulary or TLS, and no field of
// any message is in it. It does see device IDs, sizes and times.
func checkRecord(t *testing.T, evilhub *hubtest.Hub) {
	t.Helper()
	record := evilhub.Record()
	if len(record) < 1000 {
		t.Fatalf("the evilhub has recorded %d bytes only", len(record))
	}
	for _, leak := range evilhub.Leaks() {
		t.Errorf("the evilhub can read: %s", leak)
	}
	for _, clear := range []string{
		secretData, base64.StdEncoding.EncodeToString([]byte(secretData))[:40], "approved", "laptop", "requestID", "signRequest",
		"signResponse", "protocolVersion", "dataToSign", "deviceName", "pairRequest", "proof\":", wire.Origin,
	} {
		if bytes.Contains(record, []byte(clear)) {
			t.Errorf("the evilhub can read %q", clear)
		}
	}
}

// TestEvilHubPairing: the evilhub sees the token, and lets an attacker use it; and
// it leads the phone to the attacker. Nobody is paired with the attacker, and the
// next invitation works.
func TestEvilHubPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evilhub := hubtest.New(hubURL)
		at := inMemory(evilhub)
		agent, phone := newAgent(t, "laptop", at), newPhone(t, "phone", at)
		attacker := newPhone(t, "attacker", at)
		defer evilhub.Wait()
		for _, a := range []*actor{agent, phone, attacker} {
			defer a.start()()
		}
		inv := inviting(t, agent, relay.Route(hubURL))
		evilhub.Blind = true // the attacker needs no token

		fake := device.NewInvitation(agent.id, "laptop", []string{relay.Route(hubURL)}, "")
		withToken := relayWithToken{attacker.Client, inv}
		node := link.New(link.Config{Key: attacker.key, Trust: attacker.trust, Name: "attacker"})
		defer node.Close()
		if _, err := node.Pair(t.Context(), fake, nil, withToken); !errors.Is(err, device.ErrWrongProof) {
			t.Errorf("with the token and without the secret: %v", err)
		}
		time.Sleep(5 * time.Second) // the agent opens the rendezvous again
		attacker.Node.Offer(device.NewOffer(fake, time.Now()))
		evilhub.Tamper(func(p hubtest.Packet) []hubtest.Packet {
			switch {
			case p.From == attacker.id:
				p.From = agent.id
			case p.To == agent.id:
				p.To = attacker.id
			}
			return []hubtest.Packet{p}
		})
		if _, err := phone.Pair(t.Context(), inv, nil); !errors.Is(err, link.ErrWrongDevice) {
			t.Errorf("led to the attacker: %v", err)
		}
		evilhub.Tamper(nil)
		inv = inviting(t, agent, relay.Route(hubURL)) // the evilhub took the token of the first
		if _, err := phone.Pair(t.Context(), inv, nil); err != nil {
			t.Error(err)
		}
		if n := len(must(agent.trust.Peers())) + len(must(phone.trust.Peers())); n != 2 || attacker.paired != 0 {
			t.Errorf("%d pairings", n)
		}
		checkRecord(t, evilhub)
	})
}

// relayWithToken dials with the token of an invitation whose secret it lacks.
type relayWithToken struct {
	*relay.Client
	seen device.Invitation
}

func (r relayWithToken) DialInvited(ctx context.Context, _ device.Invitation, secure link.Secure) (*tls.Conn, string, error) {
	return r.Client.DialInvited(ctx, r.seen, secure)
}

// TestBadInput: what no hub sends costs it the connection at most, and the
// device connects anew.
func TestBadInput(t *testing.T) {
	deep := `{"type":"presence","x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`
	frame := func(k hubwire.Kind, payload int) []byte {
		return hubwire.Frame{Kind: k, Stream: 7, Payload: make([]byte, payload)}.Append(nil)
	}
	for name, bad := range map[string]struct {
		text    bool
		message []byte
		stays   bool
	}{
		"not JSON":                     {true, []byte("{"), false},
		"no type":                      {true, []byte("{}"), false},
		"empty":                        {true, nil, false},
		"an unknown type":              {true, []byte(`{"type":"dance","id":1}`), true},
		"another challenge":            {true, []byte(`{"type":"challenge","challenge":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `","origin":"https://hub.example"}`), true},
		"presence of nobody":           {true, []byte(`{"type":"presence","online":true}`), true},
		"presence of unpaired devices": {true, []byte(`{"type":"presence","online":true,"peer":"` + device.ID{9}.String() + `"}`), true},
		"a wrong ID":                   {true, []byte(`{"type":"presence","online":true,"peer":"x"}`), false},
		"an answer to nothing":         {true, []byte(`{"type":"done","id":12345}`), true},
		"an error to nothing":          {true, []byte(`{"type":"error","id":12345,"code":"\u001b[2J","message":"\u202e"}`), true},
		"a final error":                {true, []byte(`{"type":"error","code":"busy"}`), false},
		"nesting":                      {true, []byte(deep), true},
		"an oversized message":         {true, []byte(`{"type":"done","x":"` + strings.Repeat("x", hubwire.MaxMessage) + `"}`), false},
		"no frame":                     {false, []byte("x"), false},
		"an unknown kind":              {false, frame(9, 1), false},
		"an oversized frame":           {false, frame(hubwire.KindData, hubwire.MaxData+1), false},
		"data of no stream":            {false, frame(hubwire.KindData, 100), true},
		"the end of no stream":         {false, frame(hubwire.KindClose, 1), true},
		"a stream with a token":        {false, frame(hubwire.KindOpen, hubwire.TokenSize), true},
	} {
		t.Run(name, func(t *testing.T) {
			withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
				h.Send(c.agent.id, bad.text, bad.message)
				time.Sleep(time.Minute)
				if stayed := h.Connects() == 2; stayed != bad.stays {
					t.Errorf("%d connections", h.Connects())
				}
				if err := c.agent.askList(t.Context(), c.phone); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFloods: a hub that opens streams without end, or has the device answer
// without end, gets no more than the limits, and links go on.
func TestFloods(t *testing.T) {
	withLink(t, func(t *testing.T, h *hubtest.Hub, c *couple) {
		for i := range 20000 {
			to := c.phone.id
			h.Send(to, false, hubwire.Frame{Kind: hubwire.KindOpen, Peer: device.ID{byte(i), byte(i >> 8)}, Stream: uint64(i)}.Append(nil))
			h.Send(to, false, hubwire.Frame{Kind: hubwire.KindData, Stream: uint64(i), Payload: []byte("x")}.Append(nil))
		}
		if err := c.agent.askList(t.Context(), c.phone); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if h.Connects() != 2 || c.agent.up != 1 {
			t.Errorf("%d connections, %d links", h.Connects(), c.agent.up)
		}
	})
}

// TestPresenceLies: a hub that tells of a device that is not there makes an agent
// dial no faster than its shortest pause; one that says that it has gone ends the
// link through the hub, which comes back when the hub behaves.
func TestPresenceLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		c := newCouple(t, inMemory(h))
		defer h.Wait()
		defer c.agent.start()()
		synctest.Wait()
		said := func(online bool) []byte {
			return must(json.Marshal(hubwire.Message{Type: hubwire.TypePresence, Peer: &c.phone.id, Online: online}))
		}
		const lies = 6000
		for i := range lies {
			h.Send(c.agent.id, true, said(i%3 > 0))
			time.Sleep(10 * time.Millisecond)
		}
		most := int(lies * 10 * time.Millisecond / link.BackoffMin)
		if n := h.Opened(c.agent.id); n < most/10 || n > most+2 {
			t.Errorf("dialled %d times in a minute", n)
		}
		if n := h.Connects(); n != 1 {
			t.Errorf("%d connections to the hub", n)
		}

		defer c.phone.start()()
		c.linked()
		got := c.agent.up
		h.Send(c.agent.id, true, said(false))
		c.agent.until(func() bool { return c.agent.down == got })
		h.Send(c.agent.id, true, said(true))
		c.agent.linked()
		if err := c.agent.askList(t.Context(), c.phone); err != nil {
			t.Error(err)
		}
	})
}

// TestPresenceLiesAside: what a hub says of a device means nothing to a link that
// does not run through it.
func TestPresenceLiesAside(t *testing.T) {
	withTwoRoutes(t, false, func(t *testing.T, c *twoRoutes) {
		c.agent.linkedBy("tcp:")
		synctest.Wait()
		up, down := c.agent.up, c.agent.down
		for i := range 1000 {
			lie := must(json.Marshal(hubwire.Message{Type: hubwire.TypePresence, Peer: &c.phone.id, Online: i%2 > 0}))
			c.hub.Send(c.agent.id, true, lie)
			time.Sleep(10 * time.Millisecond)
		}
		if err := c.agent.askList(t.Context(), c.phone); err != nil || c.agent.up != up || c.agent.down != down {
			t.Errorf("%v; %d links, ended by %v", err, c.agent.up, c.agent.reasons)
		}
	})
}

// TestRefusalsWithoutEnd: a hub that refuses what nobody has asked for does not
// fill the log.
func TestRefusalsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		var log bytes.Buffer
		a := newPhone(t, "phone", inMemory(h))
		at := inMemory(h)
		client := must(relay.New(relay.Config{URL: at.url, Open: at.open, Key: a.key, Allow: a.trust.IDs, Log: slog.New(slog.NewTextHandler(&log, nil))}))
		defer h.Wait()
		defer inBackground(client.Run)()
		synctest.Wait()
		a.trusts(newPhone(t, "other", at))
		client.Refresh() // one that nobody waits for
		for i := range 20000 {
			m := hubwire.Message{Type: hubwire.TypeError, ID: uint64(i%3 + 1), Code: hubwire.CodeInternal}
			h.Send(a.id, true, must(json.Marshal(m)))
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "the hub refuses"); n != 1 {
			t.Errorf("%d lines for one request that was refused", n)
		}
	})
}

// TestRefusedText: what a hub says is fit for a terminal, and bounded.
func TestRefusedText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		a := newPhone(t, "phone", inMemory(h))
		defer h.Wait()
		defer a.start()()
		synctest.Wait()
		m := `{"type":"error","code":"` + strings.Repeat("c", 9000) + `","message":"\u001b[2J\u202e` + strings.Repeat("m", 9000) + `"}`
		h.Send(a.id, true, []byte(m))
		synctest.Wait()
		got := a.Client.Status().LastError.Error()
		if !wire.Printable(got) || len(got) > 4*wire.MaxNameSize || !strings.Contains(got, "mmm") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}
