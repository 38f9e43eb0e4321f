package hub

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"vmux/internal/link/hubwire"
)

// newNATS runs a NATS server as an operator would, on a port; without a folder it stores
// nothing.
func newNATS(t testing.TB, port int, dir string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: port, JetStream: dir != "", StoreDir: dir, NoSigs: true, NoLog: true}
	for _, c := range change {
		c(o)
	}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	return ns
}

func withNATS(url string) func(*Config) { return func(c *Config) { c.NATSURL = url } }

// twoHubs are hubs of one cluster that know of each other.
func twoHubs(t *testing.T) (one, other *testHub) {
	t.Helper()
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir())
	one, other = newHub(t, withNATS(ns.ClientURL())), newHub(t, withNATS(ns.ClientURL()))
	return one, other
}

// knows waits until a hub has heard of n devices at others.
func (h *testHub) knows(n int) {
	h.t.Helper()
	waitFor(h.t, "the other hubs' devices", func() bool { return h.Stats().Elsewhere == n })
}

func TestTwoHubs(t *testing.T) {
	one, other := twoHubs(t)
	relayBetween(t, one, other)
	rendezvousBetween(t, one, other)
}

// Ten thousand tokens are no more use from another hub.
func TestTenThousandTokensAcrossHubs(t *testing.T) {
	one, other := twoHubs(t)
	agent := newActor(t).connect(one)
	agent.waitsFor(newToken(t), 60)
	other.knows(1)
	if tried := guessTokens(t, other, agent, 10_000); tried > 2*MaxWrongTokens {
		t.Errorf("%d tokens were tried", tried)
	}
	agent.nothing()
}

// The newest connection of a device counts, whichever hub it is at.
func TestReplacedAcrossHubs(t *testing.T) {
	one, other := twoHubs(t)
	agent, phone := pair(t, one)
	other.knows(2)

	anew := agent.again().connect(other, phone.id)
	if m := agent.message(hubwire.TypeError); m.Code != hubwire.CodeReplaced {
		t.Errorf("told %+v", m)
	}
	agent.isCut()
	phone.wantsClose(agent, 1, hubwire.ReasonUnreached)
	phone.sees(agent, true)
	anew.sees(phone, true)
	anew.sends(hubwire.KindOpen, phone, 2, "")
	phone.wants(hubwire.KindOpen, agent, 2, "")

	// And back again, several times.
	for i := range 6 {
		at := []*testHub{one, other}[i%2]
		anew = anew.again().connect(at, phone.id)
		phone.sees(agent, true)
		anew.sees(phone, true)
	}
	anew.sends(hubwire.KindOpen, phone, 3, "")
	phone.wantsClose(agent, 2, hubwire.ReasonUnreached)
	phone.wants(hubwire.KindOpen, agent, 3, "")
	other.knows(1)
	one.knows(1)
}

// Allow lists hold across hubs, also as they change.
func TestPresenceAcrossHubs(t *testing.T) {
	one, other := twoHubs(t)
	agent, phone, unpaired := newActor(t), newActor(t), newActor(t)
	agent.connect(one, phone.id)
	phone.connect(other)
	unpaired.connect(other, agent.id)
	one.knows(2)
	other.knows(1)
	agent.nothing()
	phone.nothing()
	unpaired.sends(hubwire.KindOpen, agent, 1, "")
	unpaired.wantsClose(agent, 1, hubwire.ReasonUnreached)
	phone.allows(agent.id)
	agent.sees(phone, true)
	phone.sees(agent, true)
	agent.allows()
	phone.sees(agent, false)
	agent.sees(phone, false)
	unpaired.nothing()
}

// A device that is too slow for one at another hub loses that stream.
func TestSlowAcrossHubs(t *testing.T) {
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir())
	limits := withLimits(Limits{QueueBytes: 128 << 10, WriteTime: time.Minute, PingAfter: time.Minute, DeadAfter: time.Hour})
	one, other := newHub(t, withNATS(ns.ClientURL()), limits), newHub(t, withNATS(ns.ClientURL()), limits)
	agent, phone := newActor(t), newActor(t)
	agent.connect(one, phone.id)
	halfOpen(t, other, phone, agent)
	agent.sees(phone, true)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	flood(t, agent, phone, hubwire.ReasonSlow)
}

// A hub that comes late learns who is there; one that ends takes its devices
// with it.
func TestHubsComeAndGo(t *testing.T) {
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir())
	one := newHub(t, withNATS(ns.ClientURL()))
	agent, phone := newActor(t), newActor(t)
	agent.connect(one, phone.id)
	other := newHub(t, withNATS(ns.ClientURL()))
	other.knows(1)
	phone.connect(other, agent.id)
	phone.sees(agent, true)
	agent.sees(phone, true)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	phone.wants(hubwire.KindOpen, agent, 1, "")
	other.end()
	agent.wantsClose(phone, 1, hubwire.ReasonUnreached)
	agent.sees(phone, false)
}

// A hub that vanishes without a word is missed.
func TestHubVanishes(t *testing.T) {
	t.Parallel()
	one, other := twoHubs(t)
	agent, phone := pairAt(t, one, other)
	other.bus.nc.Close() // as if the process had been killed
	agent.wantsClose(phone, 1, hubwire.ReasonUnreached)
	agent.sees(phone, false)
	one.knows(0)
}

// While NATS is away devices of the same hub go on; when it is back, hubs find
// each other again, and what has changed meanwhile is known.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ns := newNATS(t, server.RANDOM_PORT, dir)
	url := ns.ClientURL()
	one, other := newHub(t, withNATS(url)), newHub(t, withNATS(url))
	agent, phone, late := newActor(t), newActor(t), newActor(t)
	agent.connect(one, phone.id, late.id)
	phone.connect(one, agent.id)
	agent.sees(phone, true)
	phone.sees(agent, true)
	port := ns.Addr().(*net.TCPAddr).Port
	ns.Shutdown()
	ns.WaitForShutdown()
	waitFor(t, "the hubs to notice", func() bool { return !one.bus.nc.IsConnected() && !other.bus.nc.IsConnected() })
	late.connect(other, agent.id)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	phone.wants(hubwire.KindOpen, agent, 1, "")

	newNATS(t, port, dir)
	late.sees(agent, true)
	agent.sees(late, true)
	agent.sends(hubwire.KindOpen, late, 2, "")
	late.wants(hubwire.KindOpen, agent, 2, "")
	if text := one.log.String(); !strings.Contains(text, "NATS is away") || !strings.Contains(text, "NATS is back") {
		t.Error("the log does not say that NATS was away")
	}
}

// door lets clients into NATS once it is open.
type door struct {
	open    atomic.Bool
	refused atomic.Int64
}

// Check implements server.Authentication.
func (d *door) Check(server.ClientAuthentication) bool {
	if !d.open.Load() {
		d.refused.Add(1)
	}
	return d.open.Load()
}

// A NATS that refuses the hub for a while, as one that is overloaded or whose accounts are
// being changed (nats-io/nats.node#533), has it back once it no longer does; the log says so
// once.
func TestNATSRefusesForAWhile(t *testing.T) {
	t.Parallel()
	dir, way := t.TempDir(), &door{}
	way.open.Store(true)
	guarded := func(o *server.Options) { o.CustomClientAuthentication = way }
	ns := newNATS(t, server.RANDOM_PORT, dir, guarded)
	one := newHub(t, withNATS(ns.ClientURL()))
	port := ns.Addr().(*net.TCPAddr).Port
	way.open.Store(false)
	ns.Shutdown()
	ns.WaitForShutdown()
	newNATS(t, port, dir, guarded)
	waitFor(t, "the hub to be refused", func() bool { return way.refused.Load() >= 3 })
	way.open.Store(true)
	waitFor(t, "the hub to be back", one.bus.nc.IsConnected)
	if n := strings.Count(one.log.String(), "uthorization"); n != 1 {
		t.Errorf("said %d times: %s", n, one.log.String())
	}
}

// An announcement that was lost leaves a gap, and the whole list is asked for.
func TestLostAnnouncements(t *testing.T) {
	one, other := twoHubs(t)
	agent, phone := newActor(t), newActor(t)
	phone.connect(other, agent.id)
	one.knows(1)
	one.mu.Lock()
	one.seq += 3 // as if three had been lost
	one.mu.Unlock()
	agent.connect(one, phone.id)
	phone.sees(agent, true)
	agent.sees(phone, true)
}

// Who cannot reach NATS says so at once.
func TestNoNATS(t *testing.T) {
	if _, err := New(Config{PublicURL: "http://localhost", NATSURL: "nats://127.0.0.1:1"}); err == nil {
		t.Fatal("a hub without NATS")
	}
}
