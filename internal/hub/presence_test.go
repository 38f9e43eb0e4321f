package hub

import (
	"testing"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// allows replaces whom an actor lets reach it.
func (a *actor) allows(ids ...device.ID) {
	a.t.Helper()
	if m := a.asks(hubwire.Message{Type: hubwire.TypeAllow, Allow: ids}); m.Type != hubwire.TypeDone {
		a.t.Fatalf("allow: %+v", m)
	}
}

// nothing fails if anything has come that nobody has taken.
func (a *actor) nothing() {
	a.t.Helper()
	a.settles()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.messages) > 0 || len(a.frames) > 0 {
		a.t.Fatalf("something came: %+v, %d frames", a.messages, len(a.frames))
	}
}

// Presence is told to those only that both allow each other; an unpaired device learns
// nothing of a device whose ID it knows.
func TestPresence(t *testing.T) {
	h := newHub(t)
	agent, phone, unpaired := newActor(t), newActor(t), newActor(t)
	agent.connect(h, phone.id)
	unpaired.connect(h, agent.id, phone.id)
	phone.connect(h)
	agent.nothing()
	phone.nothing()
	unpaired.nothing()

	phone.allows(agent.id, agent.id, phone.id) // itself does not count, nor a device twice
	phone.sees(agent, true)
	agent.sees(phone, true)
	unpaired.sends(hubwire.KindOpen, agent, 1, "")
	unpaired.wantsClose(agent, 1, hubwire.ReasonUnreached)
	nobody := newActor(t)
	unpaired.sends(hubwire.KindOpen, nobody, 2, "")
	unpaired.wantsClose(nobody, 2, hubwire.ReasonUnreached)

	agent.allows()
	agent.sees(phone, false)
	phone.sees(agent, false)
	agent.allows(phone.id, unpaired.id)
	agent.sees(phone, true)
	agent.sees(unpaired, true)
	unpaired.sees(agent, true)
	phone.sees(agent, true)

	agent.leaves()
	phone.sees(agent, false)
	unpaired.sees(agent, false)
	phone.nothing()
	unpaired.nothing()
}

// The newest connection of a device is the one that counts: a dead link must
// not lock its owner out.
func TestReplaced(t *testing.T) {
	h := newHub(t)
	agent, phone := pair(t, h)

	anew := agent.again().connect(h, phone.id)
	if m := agent.message(hubwire.TypeError); m.Code != hubwire.CodeReplaced || m.ID != 0 {
		t.Errorf("the old connection was told %+v", m)
	}
	agent.isCut()
	phone.wantsClose(agent, 1, hubwire.ReasonUnreached)
	phone.sees(agent, true) // again: it can be dialled again
	anew.sees(phone, true)
	anew.sends(hubwire.KindOpen, phone, 2, "")
	phone.wants(hubwire.KindOpen, agent, 2, "")
	waitFor(t, "the old connection to be counted", func() bool { return h.Stats().Ended["replaced"] == 1 })
	if n := h.Stats().Devices; n != 2 {
		t.Errorf("%d devices", n)
	}
}

// A newer connection that allows less is believed.
func TestReplacedAllowsLess(t *testing.T) {
	h := newHub(t)
	agent, phone := newActor(t), newActor(t)
	agent.connect(h, phone.id)
	phone.connect(h, agent.id)
	phone.sees(agent, true)
	anew := agent.again().connect(h)
	phone.sees(agent, false)
	phone.sends(hubwire.KindOpen, agent, 1, "")
	phone.wantsClose(agent, 1, hubwire.ReasonUnreached)
	anew.nothing()
}

// A device cannot write into streams that are not its own, nor make up a sender.
func TestForeignStreams(t *testing.T) {
	h := newHub(t)
	agent, phone := pair(t, h)
	attacker := newActor(t).connect(h, agent.id, phone.id)

	for _, victim := range []*actor{agent, phone} {
		attacker.sends(hubwire.KindData, victim, 1, "injected")
		attacker.sends(hubwire.KindClose, victim, 1, "\x00")
	}
	attacker.sends(hubwire.KindOpen, attacker, 1, "") // to itself
	attacker.wantsClose(attacker, 1, hubwire.ReasonUnreached)
	attacker.nothing()
	phone.nothing()
	agent.nothing()
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
}

// A name is one stream's only: whoever opens it twice has lost count.
func TestStreamOpenedTwice(t *testing.T) {
	h := newHub(t)
	agent, phone := pair(t, h)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	if m := agent.message(hubwire.TypeError); m.Code != hubwire.CodeMalformed {
		t.Errorf("told %+v", m)
	}
	agent.isCut()
	phone.wantsClose(agent, 1, hubwire.ReasonUnreached)
}

// Over their limits streams are refused, one by one, and the others go on.
func TestTooManyStreams(t *testing.T) {
	h := newHub(t, withLimits(Limits{Streams: 4, StreamsPerPeer: 3}))
	agent, phone, other := newActor(t), newActor(t), newActor(t)
	agent.connect(h, phone.id, other.id)
	phone.connect(h, agent.id)
	other.connect(h, agent.id)
	agent.sees(phone, true)
	agent.sees(other, true)
	for stream := range uint64(3) {
		agent.sends(hubwire.KindOpen, phone, stream, "")
	}
	agent.sends(hubwire.KindOpen, phone, 3, "")
	agent.wantsClose(phone, 3, hubwire.ReasonBusy)
	agent.sends(hubwire.KindOpen, other, 4, "")
	agent.sends(hubwire.KindOpen, other, 5, "")
	agent.wantsClose(other, 5, hubwire.ReasonBusy)
	// The limit is the other side's as well.
	other.sends(hubwire.KindOpen, agent, 6, "")
	other.sees(agent, true)
	other.wants(hubwire.KindOpen, agent, 4, "")
	other.wantsClose(agent, 6, hubwire.ReasonBusy)

	agent.sends(hubwire.KindClose, phone, 0, "\x00")
	agent.sends(hubwire.KindOpen, phone, 7, "")
	phone.sees(agent, true)
	for _, stream := range []uint64{0, 1, 2} {
		phone.wants(hubwire.KindOpen, agent, stream, "")
	}
	phone.wantsClose(agent, 0, hubwire.ReasonClosed)
	phone.wants(hubwire.KindOpen, agent, 7, "")
	agent.nothing()
}
