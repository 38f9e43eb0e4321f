package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// actor is one device of a test: a node, and what its handler was told.
type actor struct {
	*Node
	t     testing.TB
	id    device.ID
	trust *device.Trust
	key   *device.Key

	serve func(ctx context.Context, req *Request) (wire.Kind, any)

	mu       sync.Mutex
	up, down int
	reasons  []error
	hello    wire.Hello
	route    string
	unpaired int
	paired   []device.Peer
	served   []wire.Envelope
	changed  *sync.Cond
}

func (a *actor) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.changed.Broadcast()
}

// until waits for what the handler is told. It ends with the test's own
// deadline, or at once in a bubble where nothing can happen any more.
func (a *actor) until(cond func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !cond() {
		a.changed.Wait()
	}
}

func (a *actor) LinkUp(p device.Peer, h wire.Hello, route string) {
	a.note(func() { a.up++; a.hello, a.route = h, route })
}
func (a *actor) LinkDown(p device.Peer, reason error) {
	a.note(func() { a.down++; a.reasons = append(a.reasons, reason) })
}
func (a *actor) Unpaired(device.Peer) { a.note(func() { a.unpaired++ }) }
func (a *actor) Paired(p device.Peer) { a.note(func() { a.paired = append(a.paired, p) }) }
func (a *actor) Serve(ctx context.Context, req *Request) (wire.Kind, any) {
	a.note(func() { a.served = append(a.served, req.Envelope) })
	if a.serve != nil {
		return a.serve(ctx, req)
	}
	return wire.KindKeyListResponse, wire.KeyListResponse{}
}

func (a *actor) lastReason() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.reasons) == 0 {
		return nil
	}
	return a.reasons[len(a.reasons)-1]
}

// newActor makes a device; change may alter its configuration.
func newActor(t testing.TB, name string, change ...func(*Config)) *actor {
	t.Helper()
	key := must(device.NewKey())
	a := &actor{t: t, id: key.ID(), key: key, trust: device.NewTrust(new(testkit.Document))}
	a.changed = sync.NewCond(&a.mu)
	c := Config{Key: key, Trust: a.trust, Name: name, Handler: a}
	for _, f := range change {
		f(&c)
	}
	a.Node = New(c)
	return a
}

func (a *actor) trusts(b *actor) {
	a.t.Helper()
	if err := a.trust.Add(device.Peer{ID: b.id, Name: wire.Clean(b.name)}); err != nil {
		a.t.Fatal(err)
	}
}

// run runs the node until the test ends or stop is called.
func (a *actor) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	a.t.Cleanup(stop)
	return stop
}

// accept takes connections until stop is called.
func (a *actor) accept(m *memory) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Node.Serve(ctx, m) }()
	return func() { cancel(); <-done }
}

// memory is a network in memory: a Route and a net.Listener over net.Pipe.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	late   bool // see pipeEnd; set before it is used
	mu     sync.Mutex
	dials  int
	refuse bool
	last   []*pipeEnd
}

// pipeEnd is one end of a pipe that can be made a black hole: what is written
// vanishes, nothing arrives, and nobody is told. Or the other end reads no more.
type pipeEnd struct {
	net.Conn
	late  bool // a read deadline is set only when all others have done what they could
	mu    sync.Mutex
	hole  bool
	stuck net.Conn // takes what is written, and nobody reads there; nil: it is read
}

func (p *pipeEnd) SetReadDeadline(at time.Time) error {
	if p.late {
		<-time.After(time.Second)
	}
	return p.Conn.SetReadDeadline(at)
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	p.mu.Lock()
	hole, stuck := p.hole, p.stuck
	p.mu.Unlock()
	if stuck != nil {
		return stuck.Write(b)
	}
	if hole {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

func (p *pipeEnd) SetWriteDeadline(at time.Time) error {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck != nil {
		return stuck.SetWriteDeadline(at)
	}
	return p.Conn.SetWriteDeadline(at)
}

func (p *pipeEnd) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
}

// Close of a black hole's end is not seen by the other.
func (p *pipeEnd) Close() error {
	p.mu.Lock()
	hole, stuck := p.hole, p.stuck
	p.mu.Unlock()
	if stuck != nil {
		_ = stuck.Close()
	}
	if hole {
		return p.SetDeadline(time.Now())
	}
	return p.Conn.Close()
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (m *memory) Name() string   { return "memory" }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) open(ctx context.Context) (net.Conn, error) {
	m.mu.Lock()
	m.dials++
	refuse := m.refuse
	m.mu.Unlock()
	if refuse {
		return nil, errors.New("refused")
	}
	a, b := net.Pipe()
	near, far := &pipeEnd{Conn: a, late: m.late}, &pipeEnd{Conn: b, late: m.late}
	select {
	case m.conns <- far:
		m.mu.Lock()
		m.last = []*pipeEnd{near, far}
		m.mu.Unlock()
		return near, nil
	case <-m.done:
	case <-ctx.Done():
	}
	_, _ = a.Close(), b.Close()
	return nil, errors.New("nobody listens")
}

func (m *memory) Dial(ctx context.Context, peer device.Peer, secure Secure) (*tls.Conn, string, error) {
	c, err := m.open(ctx)
	if err != nil {
		return nil, "", err
	}
	s, err := secure(ctx, c)
	return s, "memory:x", err
}

// cut ends the newest connection; hole makes it swallow everything.
func (m *memory) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.last {
		_ = c.Close()
	}
}

func (m *memory) hole() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.last {
		c.swallow()
	}
}

// stick has nobody read what is written from now on.
func (m *memory) stick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.last {
		c.mu.Lock()
		c.stuck, _ = net.Pipe()
		c.mu.Unlock()
	}
}

func (m *memory) setRefuse(r bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = r
}

func (m *memory) dialled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dials
}

// couple is an agent that dials a phone over a network in memory; both trust
// each other and run.
type couple struct {
	agent, phone *actor
	net          *memory
}

func newCouple(t testing.TB, serve func(context.Context, *Request) (wire.Kind, any)) *couple {
	t.Helper()
	m := newMemory()
	c := &couple{net: m}
	c.phone = newActor(t, "phone")
	c.phone.serve = serve
	c.agent = newActor(t, "laptop", func(c *Config) { c.Routes = []Route{m} })
	c.agent.trusts(c.phone)
	c.phone.trusts(c.agent)
	return c
}

func (c *couple) start() (stop func()) {
	stopPhone, stopAgent := c.startPhone(), c.agent.run()
	return func() { stopAgent(); stopPhone() }
}

func (c *couple) startPhone() (stop func()) {
	stopListening, stopPhone := c.phone.accept(c.net), c.phone.run()
	return func() { stopPhone(); stopListening() }
}

// withLink runs a test in a bubble with a couple that is linked.
func withLink(t *testing.T, test func(t *testing.T, c *couple)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		test(t, c)
	})
}

func (c *couple) linked() {
	for _, a := range []*actor{c.agent, c.phone} {
		a.until(func() bool { return a.up > a.down })
	}
}

// linkedAgain waits for the n-th link.
func (c *couple) linkedAgain(n int) { c.agent.until(func() bool { return c.agent.up >= n }) }

// waiting asks the phone, which answers nothing until the request has ended there, and why
// is then in ended.
func (c *couple) waiting(t *testing.T) (got <-chan error, ended *error) {
	ended = new(error)
	c.phone.serve = func(ctx context.Context, _ *Request) (wire.Kind, any) {
		<-ctx.Done()
		*ended = context.Cause(ctx)
		return wire.KindError, wire.NewError(wire.CodeRequestExpired)
	}
	got = asking(func() error { _, err := c.askList(t.Context()); return err })
	synctest.Wait()
	return got, ended
}

// asking runs what asks, in the background.
func asking(ask func() error) <-chan error {
	got := make(chan error, 1)
	go func() { got <- ask() }()
	return got
}

// askSign asks for a signature; shown is called when the phone shows it.
func (c *couple) askSign(ctx context.Context, shown func()) <-chan error {
	id := wire.NewID()
	return asking(func() error {
		_, err := c.agent.Ask(ctx, c.phone.id, wire.KindSignRequest, id, map[string]string{"requestID": id}, shown)
		return err
	})
}

func (c *couple) askList(ctx context.Context) (wire.Envelope, error) {
	return c.agent.Ask(ctx, c.phone.id, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
}
