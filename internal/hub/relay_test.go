package hub

import (
	"testing"

	"vmux/internal/link/hubwire"
)

// Two devices that allow each other hear of each other, and their bytes pass
// both ways under the sender's ID.
func TestRelay(t *testing.T) {
	for name, noShortCut := range map[string]bool{"short cut": false, "NATS": true} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, func(c *Config) { c.NoShortCut = noShortCut })
			relayBetween(t, h, h)
		})
	}
}

func relayBetween(t *testing.T, one, other *testHub) {
	agent, phone := newActor(t), newActor(t)
	agent.connect(one, phone.id)
	phone.connect(other, agent.id)
	agent.sees(phone, true)
	phone.sees(agent, true)

	agent.sends(hubwire.KindOpen, phone, 7, "")
	phone.wants(hubwire.KindOpen, agent, 7, "")
	agent.sends(hubwire.KindData, phone, 7, "to the phone")
	phone.wants(hubwire.KindData, agent, 7, "to the phone")
	phone.sends(hubwire.KindData, agent, 7, "to the agent")
	agent.wants(hubwire.KindData, phone, 7, "to the agent")
	phone.sends(hubwire.KindClose, agent, 7, "\x04")
	agent.wantsClose(phone, 7, hubwire.ReasonClosed) // whatever reason a device claims

	agent.sends(hubwire.KindOpen, phone, 8, "")
	phone.wants(hubwire.KindOpen, agent, 8, "")
	phone.leaves()
	agent.wantsClose(phone, 8, hubwire.ReasonUnreached)
	agent.sees(phone, false)
	agent.sends(hubwire.KindOpen, phone, 9, "")
	agent.wantsClose(phone, 9, hubwire.ReasonUnreached)
}
