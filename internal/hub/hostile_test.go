package hub

import (
	"crypto/rand"
	"encoding/json"
	mathrand "math/rand/v2"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// Somebody who is no hub has come by access to NATS, where all trust each other.
// They can cut streams and tell lies about presence. They cannot put a byte into a
// stream without posing as the hub that it runs over, get an unpaired device in, stop a
// hub, or disturb those who reach each other at one hub.
func TestAttackerOnNATS(t *testing.T) {
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir())
	one, other := newHub(t, withNATS(ns.ClientURL())), newHub(t, withNATS(ns.ClientURL()))
	agent, phone := pair(t, one)
	far := newActor(t)
	far.connect(other, agent.id)
	agent.allows(phone.id, far.id)
	agent.sees(far, true)
	far.sees(agent, true)
	agent.sends(hubwire.KindOpen, far, 2, "")
	far.wants(hubwire.KindOpen, agent, 2, "")

	attacker, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer attacker.Close()
	say := func(subject string, b []byte) {
		t.Helper()
		if err := attacker.Publish(subject, b); err != nil {
			t.Fatal(err)
		}
	}
	forge := func(to *testHub, id device.ID, f hubwire.Frame) {
		var me hubID
		_, _ = rand.Read(me[:])
		m := append(append([]byte{byte(opFrame)}, me[:]...), id[:]...)
		say(to.bus.id.subject(), f.Append(m))
	}
	token := newToken(t)
	agent.waitsFor(token, 60)
	unpaired := newActor(t)
	for _, h := range []*testHub{one, other} {
		for _, at := range []struct {
			to, from *actor
			stream   uint64
		}{{agent, phone, 1}, {phone, agent, 1}, {agent, far, 2}, {far, agent, 2}} {
			forge(h, at.to.id, hubwire.Frame{Kind: hubwire.KindData, Peer: at.from.id, Stream: at.stream, Payload: []byte("injected")})
		}
		for i := range uint64(20) {
			forge(h, agent.id, hubwire.Frame{Kind: hubwire.KindOpen, Peer: unpaired.id, Stream: 100 + i})
			forge(h, agent.id, hubwire.Frame{Kind: hubwire.KindOpen, Peer: unpaired.id, Stream: 200 + i, Payload: newToken(t)})
			forge(h, agent.id, hubwire.Frame{Kind: hubwire.KindOpen, Peer: unpaired.id, Stream: 300 + i, Payload: token}) // not its hash
		}
	}
	for _, b := range nonsense(agent.id) {
		say(subjectAll, b)
		say(one.bus.id.subject(), b)
		say(other.bus.id.subject(), b)
	}
	if err := attacker.Flush(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all to be heard", func() bool { return len(one.bus.inbox) == 0 && len(other.bus.inbox) == 0 })

	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
	agent.sends(hubwire.KindData, far, 2, "still here")
	far.wants(hubwire.KindData, agent, 2, "still here")
	far.sends(hubwire.KindData, agent, 2, "still here")
	agent.wants(hubwire.KindData, far, 2, "still here")
	agent.nothing()
	newActor(t).connect(one)
	newActor(t).connect(other)
}

// nonsense is what no hub announces, and some of it cut short.
func nonsense(id device.ID) (all [][]byte) {
	good, _ := json.Marshal(announcement{Hub: hubID{9}, Seq: 1, Here: []here{{ID: id, Epoch: 1, Allow: []device.ID{id}}}})
	for _, s := range []string{
		"", "null", "[]", "{}", `{"hub":null}`, `{"hub":"00"}`, `{"hub":"` + string(make([]byte, 32)) + `"}`,
		`{"seq":-1}`, `{"here":[{}]}`, `{"here":[{"id":"x"}]}`, `{"ask":true}`, `{"first":true,"last":true}`, `{"bye":true}`,
	} {
		all = append(all, []byte(s))
	}
	for i := range good {
		all = append(all, good[:i])
	}
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for range 200 {
		b := make([]byte, r.IntN(2*prefixSize+hubwire.HeaderSize))
		_, _ = rand.Read(b)
		all = append(all, b)
	}
	return append(all, make([]byte, 512<<10))
}
