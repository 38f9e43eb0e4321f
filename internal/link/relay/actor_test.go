package relay_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"vmux/internal/device"
	"vmux/internal/leakcheck"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// place is where a test's hub is.
type place struct {
	url  string
	open func(ctx context.Context, url string) (relay.Socket, error) // nil: over the network
}

const hubURL = "https://hub.example"

// inMemory is a hub in memory.
func inMemory(h *hubtest.Hub) place {
	return place{hubURL, func(ctx context.Context, url string) (relay.Socket, error) {
		p, err := h.Open(ctx, url)
		if err != nil {
			return nil, err
		}
		return p, nil
	}}
}

// actor is one device of a test: a node and its hub client, and what its handler
// was told.
type actor struct {
	*link.Node
	Client *relay.Client
	t      testing.TB
	name   string
	id     device.ID
	key    *device.Key
	trust  *device.Trust
	ways   []link.Route // by which a phone pairs

	serve func(ctx context.Context, req *link.Request) (wire.Kind, any)

	mu       sync.Mutex
	up, down int
	routes   []string // of each link
	reasons  []error
	served   []wire.Envelope
	paired   int
	changed  *sync.Cond
}

// newPhone makes a device at the hub of a place that is dialled. It pairs by the hub,
// and by other routes.
func newPhone(t testing.TB, name string, at place, routes ...link.Route) *actor {
	a := newActor(t, name, at, func(c *link.Config) { c.Routes = nil })
	a.ways = append(routes, a.Client)
	return a
}

// Pair redeems an invitation by the device's ways.
func (a *actor) Pair(ctx context.Context, inv device.Invitation, routes []string) (device.Peer, error) {
	return a.Node.Pair(ctx, inv, routes, a.ways...)
}

// newAgent makes one that dials. Other routes stand before the hub's.
func newAgent(t testing.TB, name string, at place, routes ...link.Route) *actor {
	return newActor(t, name, at, func(c *link.Config) { c.Routes = append(routes, c.Routes...) })
}

func newActor(t testing.TB, name string, at place, change func(*link.Config)) *actor {
	t.Helper()
	key := must(device.NewKey())
	a := &actor{t: t, name: name, id: key.ID(), key: key, trust: device.NewTrust(new(testkit.Document))}
	a.changed = sync.NewCond(&a.mu)
	a.Client = a.newClient(at)
	c := link.Config{Key: key, Trust: a.trust, Name: name, Handler: a, Routes: []link.Route{a.Client}}
	change(&c)
	a.Node = link.New(c)
	return a
}

func (a *actor) newClient(at place) *relay.Client {
	return must(relay.New(relay.Config{URL: at.url, Open: at.open, Key: a.key, Allow: a.trust.IDs}))
}

func (a *actor) trusts(b *actor) {
	a.t.Helper()
	if err := a.trust.Add(device.Peer{ID: b.id, Name: wire.Clean(b.name)}); err != nil {
		a.t.Fatal(err)
	}
}

// start runs the device, which serves what comes from the hub, until stop.
func (a *actor) start() (stop func()) {
	stopClient, stopServing := inBackground(a.Client.Run), a.serves(a.Client.Listener())
	stopNode := inBackground(a.Node.Run)
	stop = sync.OnceFunc(func() { stopNode(); stopServing(); stopClient() })
	a.t.Cleanup(stop)
	return stop
}

// serves takes connections until stop.
func (a *actor) serves(l net.Listener) (stop func()) {
	return inBackground(func(ctx context.Context) error { return a.Node.Serve(ctx, l) })
}

// inBackground runs something until stop.
func inBackground(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx) }()
	return func() { cancel(); <-done }
}

func (a *actor) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.changed.Broadcast()
}

// until waits for what the handler is told.
func (a *actor) until(cond func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !cond() {
		a.changed.Wait()
	}
}

func (a *actor) linked() { a.until(func() bool { return a.up > a.down }) }

// linkedBy waits until the link is one of a route that begins so.
func (a *actor) linkedBy(scheme string) {
	a.until(func() bool {
		return a.up > a.down && len(a.routes) > 0 && a.routes[len(a.routes)-1][:len(scheme)] == scheme
	})
}

func (a *actor) LinkUp(_ device.Peer, _ wire.Hello, route string) {
	a.note(func() { a.up++; a.routes = append(a.routes, route) })
}
func (a *actor) LinkDown(_ device.Peer, reason error) {
	a.note(func() { a.down++; a.reasons = append(a.reasons, reason) })
}
func (a *actor) Unpaired(device.Peer) {}
func (a *actor) Paired(device.Peer) {
	a.note(func() { a.paired++ })
	a.Client.Refresh()
}
func (a *actor) Serve(ctx context.Context, req *link.Request) (wire.Kind, any) {
	a.note(func() { a.served = append(a.served, req.Envelope) })
	if a.serve != nil {
		return a.serve(ctx, req)
	}
	return wire.KindKeyListResponse, wire.KeyListResponse{}
}

// couple is an agent and a phone at one hub that trust each other.
type couple struct{ agent, phone *actor }

func newCouple(t testing.TB, at place) *couple {
	t.Helper()
	c := &couple{agent: newAgent(t, "laptop", at), phone: newPhone(t, "phone", at)}
	c.agent.trusts(c.phone)
	c.phone.trusts(c.agent)
	return c
}

func (c *couple) start() (stop func()) {
	stopPhone, stopAgent := c.phone.start(), c.agent.start()
	return func() { stopAgent(); stopPhone() }
}

func (c *couple) linked() { c.agent.linked(); c.phone.linked() }

// withLink runs a test in a bubble with a hub in memory and a couple that is linked.
func withLink(t *testing.T, test func(t *testing.T, h *hubtest.Hub, c *couple)) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		c := newCouple(t, inMemory(h))
		defer h.Wait()
		defer c.start()()
		c.linked()
		test(t, h, c)
	})
}

func (a *actor) askList(ctx context.Context, of *actor) error {
	_, err := a.Ask(ctx, of.id, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
	return err
}

// askSign asks for a signature that the phone's serve gives when it likes.
func (a *actor) askSign(ctx context.Context, of *actor) <-chan error {
	got := make(chan error, 1)
	id := wire.NewID()
	go func() {
		_, err := a.Ask(ctx, of.id, wire.KindSignRequest, id, wire.Received{RequestID: id}, nil)
		got <- err
	}()
	return got
}

// approving is a person who approves when release is closed.
func approving(release <-chan struct{}) func(context.Context, *link.Request) (wire.Kind, any) {
	return func(ctx context.Context, req *link.Request) (wire.Kind, any) {
		req.Received()
		select {
		case <-release:
		case <-ctx.Done():
		}
		return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
	}
}
