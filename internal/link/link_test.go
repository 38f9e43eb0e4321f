package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f.Value.String() != "" {
		os.Exit(code) // the fuzzing engine has goroutines of its own
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines left behind:\n%s\n", n-before, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

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
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{t: t, id: key.ID(), key: key, trust: device.NewTrust(new(device.MemoryStore))}
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
	if err := a.trust.Add(device.Peer{ID: b.id, Name: b.name}); err != nil {
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

// memory is a network in memory: a Route and a net.Listener over net.Pipe.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	dials  int
	refuse bool
	last   []*pipeEnd
}

// pipeEnd is one end of a pipe that can be made a black hole: what is written
// vanishes, nothing arrives, and nobody is told.
type pipeEnd struct {
	net.Conn
	mu   sync.Mutex
	hole bool
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	p.mu.Lock()
	hole := p.hole
	p.mu.Unlock()
	if hole {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

func (p *pipeEnd) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
}

// Close of a black hole's end is not seen by the other.
func (p *pipeEnd) Close() error {
	p.mu.Lock()
	hole := p.hole
	p.mu.Unlock()
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
	near, far := &pipeEnd{Conn: a}, &pipeEnd{Conn: b}
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
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.phone.Node.Serve(ctx, c.net) }()
	stopPhone, stopAgent := c.phone.run(), c.agent.run()
	return func() { stopAgent(); stopPhone(); cancel(); <-done }
}

func (c *couple) linked() { c.agent.until(func() bool { return c.agent.up > c.agent.down }) }

// linkedAgain waits for the n-th link.
func (c *couple) linkedAgain(n int) { c.agent.until(func() bool { return c.agent.up >= n }) }

func (c *couple) askList(ctx context.Context) (wire.Envelope, error) {
	return c.agent.Ask(ctx, c.phone.id, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
}

// TestLinkOverTCP: the real thing over loopback. Both are told of the link, a
// request is answered, and the channel is what it is said to be.
func TestLinkOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	state := make(chan tls.ConnectionState, 1)
	r := tcpRoute{l.Addr().String(), state}
	phone := newActor(t, "phone")
	agent := newActor(t, "laptop", func(c *Config) {
		c.Routes = []Route{r}
		c.Hello = func() wire.Hello { return wire.Hello{OpenSSHVersion: "OpenSSH_9.2p1"} }
	})
	agent.trusts(phone)
	phone.trusts(agent)
	phone.run()
	agent.run()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() { _ = phone.Node.Serve(ctx, l) }()
	e, err := agent.Ask(ctx, phone.id, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
	if err != nil || e.Kind != wire.KindKeyListResponse {
		t.Fatalf("answer %v, %v", e.Kind, err)
	}
	phone.until(func() bool { return phone.up == 1 })
	if phone.hello.DeviceName != "laptop" || phone.hello.OpenSSHVersion != "OpenSSH_9.2p1" {
		t.Errorf("hello %+v", phone.hello)
	}
	if !strings.HasPrefix(phone.route, "tcp:127.0.0.1:") {
		t.Errorf("route %q", phone.route)
	}
	cs := <-state
	if cs.Version != tls.VersionTLS13 || cs.CurveID != tls.X25519MLKEM768 || cs.DidResume {
		t.Errorf("version %x, curve %v, resumed %v", cs.Version, cs.CurveID, cs.DidResume)
	}
	p, err := agent.trust.Get(phone.id)
	if err != nil || len(p.Routes) != 1 || p.Routes[0] != "tcp:"+l.Addr().String() {
		t.Errorf("last known address %v, %v", p.Routes, err)
	}
	if s := agent.Peers(); len(s) != 1 || !s[0].Connected || s[0].Hello.DeviceName != "phone" || s[0].ClockDifference.Abs() > time.Second {
		t.Errorf("status %+v", s)
	}
}

type tcpRoute struct {
	address string
	state   chan tls.ConnectionState
}

func (tcpRoute) Name() string { return "tcp" }
func (r tcpRoute) Dial(ctx context.Context, p device.Peer, secure Secure) (*tls.Conn, string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, "", err
	}
	s, err := secure(ctx, c)
	if err == nil && r.state != nil {
		select {
		case r.state <- s.ConnectionState():
		default:
		}
	}
	return s, "tcp:" + r.address, err
}

// TestBlackHoleNoticed: packets vanish without a reset. Both sides notice
// within 15 s, and a link through another connection comes up.
func TestBlackHoleNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		for _, before := range []time.Duration{0, 3 * time.Second, 61 * time.Second} {
			time.Sleep(before) // the clock of the bubble
			began := time.Now()
			c.net.hole()
			for _, a := range []*actor{c.agent, c.phone} {
				n := a.downs()
				a.until(func() bool { return a.down > n })
				if took := time.Since(began); took > 15*time.Second || !errors.Is(a.lastReason(), ErrDead) {
					t.Errorf("%s noticed after %v: %v", a.name, took, a.lastReason())
				}
			}
			c.linked()
			if _, err := c.askList(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func (a *actor) downs() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.up - 1
}

// TestQuietLinkStays: an idle link lives for hours by its pings.
func TestQuietLinkStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if c.agent.down+c.phone.down != 0 {
			t.Errorf("link went down: %v", c.agent.lastReason())
		}
	})
}

// TestWakeProbes: after Wake a link that is dead is noticed sooner.
func TestWakeProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		time.Sleep(time.Second)
		c.agent.Wake() // a live link stands it
		time.Sleep(5 * time.Second)
		c.net.hole()
		began := time.Now()
		c.agent.Wake()
		c.agent.until(func() bool { return c.agent.down == 1 })
		if took := time.Since(began); took > DefaultTiming.ProbeTimeout {
			t.Errorf("noticed after %v", took)
		}
	})
}

// TestResendAfterReconnect: the link dies while the person is asked. The
// request is sent again, shown once, and its answer arrives.
func TestResendAfterReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newCouple(t, func(ctx context.Context, req *Request) (wire.Kind, any) {
			req.Received()
			<-release
			return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
		})
		defer c.start()()
		c.linked()
		got := make(chan error, 1)
		shown := 0
		id := wire.NewID()
		go func() {
			_, err := c.agent.Ask(t.Context(), c.phone.id, wire.KindSignRequest, id, map[string]string{"requestID": id}, func() { shown++ })
			got <- err
		}()
		synctest.Wait()
		for range 3 {
			c.net.cut()
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		if len(c.phone.served) != 1 || shown != 1 || c.agent.up != 4 {
			t.Fatalf("served %d, shown %d, links %d", len(c.phone.served), shown, c.agent.up)
		}
		close(release)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

// TestRedelivery: the answer was given while the link was dead, and once more
// when it was written to a link that swallowed it.
func TestRedelivery(t *testing.T) {
	for _, when := range []string{"link gone", "link a black hole"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				c := newCouple(t, func(ctx context.Context, req *Request) (wire.Kind, any) {
					<-release
					return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
				})
				defer c.start()()
				c.linked()
				got := make(chan error, 1)
				id := wire.NewID()
				go func() {
					_, err := c.agent.Ask(t.Context(), c.phone.id, wire.KindSignRequest, id, map[string]string{"requestID": id}, nil)
					got <- err
				}()
				synctest.Wait()
				if when == "link gone" {
					c.net.setRefuse(true)
					c.net.cut()
				} else {
					c.net.hole()
				}
				close(release)
				synctest.Wait()
				c.net.setRefuse(false)
				if err := <-got; err != nil {
					t.Fatal(err)
				}
				if len(c.phone.served) != 1 {
					t.Errorf("served %d times", len(c.phone.served))
				}
			})
		})
	}
}

// TestCancel: the caller goes away, with a link and without.
func TestCancel(t *testing.T) {
	for _, linked := range []bool{true, false} {
		t.Run(fmt.Sprintf("linked=%v", linked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Time
				c := newCouple(t, func(ctx context.Context, req *Request) (wire.Kind, any) {
					<-ctx.Done()
					ended = time.Now()
					return wire.KindError, wire.NewError(wire.CodeRequestExpired)
				})
				defer c.start()()
				c.linked()
				ctx, cancel := context.WithCancel(t.Context())
				got := make(chan error, 1)
				go func() {
					_, err := c.askList(ctx)
					got <- err
				}()
				synctest.Wait()
				if !linked {
					c.net.setRefuse(true)
					c.net.cut()
					synctest.Wait()
				}
				began := time.Now()
				cancel()
				if err := <-got; !errors.Is(err, context.Canceled) {
					t.Errorf("ask ended with %v", err)
				}
				synctest.Wait()
				if linked && ended.Sub(began) != 0 {
					t.Errorf("withdrawn after %v", ended.Sub(began))
				}
				if !linked && !ended.IsZero() {
					t.Error("a lost link ended the request")
				}
				c.net.setRefuse(false)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if ended.IsZero() {
					t.Error("never withdrawn")
				}
			})
		})
	}
}

// TestAskWaitsForLink: asked while the phone is away, answered when it comes,
// at once rather than after the back-off.
func TestAskWaitsForLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		c.net.setRefuse(true)
		defer c.start()()
		time.Sleep(time.Minute)
		before := c.net.dialled()
		if before < 4 || before > 12 {
			t.Errorf("%d attempts in a minute", before)
		}
		c.net.setRefuse(false)
		began := time.Now()
		if _, err := c.askList(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > DefaultTiming.BackoffMin {
			t.Errorf("took %v", took)
		}
	})
}

// TestUnpairedByAnotherProcess: Trust changes under the node. The link ends,
// the other side learns why, and what was asked fails with its code.
func TestUnpairedByAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		c := newCouple(t, func(ctx context.Context, req *Request) (wire.Kind, any) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return wire.KindError, wire.NewError(wire.CodePairingInvalid)
		})
		defer c.start()()
		c.linked()
		got := make(chan error, 1)
		go func() {
			_, err := c.askList(t.Context())
			got <- err
		}()
		synctest.Wait()
		if err := c.phone.trust.Remove(c.agent.id); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-got; wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("ask ended with %v", err)
		}
		c.agent.until(func() bool { return c.agent.unpaired == 1 && c.agent.down == 1 })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("noticed after %v", took)
		}
		synctest.Wait()
		if cause != error(ErrUnpairedHere) || c.phone.lastReason() != error(ErrUnpairedHere) {
			t.Errorf("request ended by %v, link by %v", cause, c.phone.lastReason())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.agent.up != 1 || c.agent.unpaired != 1 {
			t.Errorf("links %d, told %d times", c.agent.up, c.agent.unpaired)
		}
		if _, err := c.askList(t.Context()); wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("asking afterwards: %v", err)
		}
		c.phone.trusts(c.agent) // paired anew
		c.agent.Wake()
		c.linkedAgain(2)
	})
}

// TestUnpairedHere: the agent's own user unpairs the phone.
func TestUnpairedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		if err := c.agent.trust.Remove(c.phone.id); err != nil {
			t.Fatal(err)
		}
		c.agent.Disconnect(c.phone.id, wire.NewError(wire.CodePairingInvalid))
		c.phone.until(func() bool { return c.phone.unpaired == 1 })
		c.agent.until(func() bool { return c.agent.down == 1 })
		if c.agent.unpaired != 0 {
			t.Error("told of its own unpairing")
		}
		if _, err := c.askList(t.Context()); wire.CodeOf(err) != wire.CodePairingInvalid {
			t.Errorf("asking afterwards: %v", err)
		}
		before := c.net.dialled()
		time.Sleep(time.Minute)
		if c.net.dialled() != before {
			t.Error("still dialling")
		}
	})
}

// TestNewestReplaces: a phone that comes back before its old link is known to
// be dead is not locked out.
func TestNewestReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.start()()
		c.linked()
		c.net.hole()
		again := newActor(t, "laptop", func(cfg *Config) { cfg.Key, cfg.Trust, cfg.Routes = c.agent.key, c.agent.trust, []Route{c.net} })
		defer again.run()()
		again.until(func() bool { return again.up == 1 })
		c.phone.until(func() bool { return c.phone.up == 2 })
		if c.phone.down != 1 || !errors.Is(c.phone.lastReason(), ErrReplaced) {
			t.Errorf("down %d: %v", c.phone.down, c.phone.lastReason())
		}
	})
}

// raw is a peer that speaks the protocol by hand.
type raw struct {
	*conn
	t *testing.T
}

// dialRaw connects to the phone as the agent's device and says hello.
func (c *couple) dialRaw(t *testing.T) *raw {
	t.Helper()
	p, err := c.net.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tc, err := c.agent.secureTo(c.phone.id)(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{newConn(tc, time.Second), t}
	if _, err := c.agent.exchange(t.Context(), r.conn); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *raw) next() wire.Envelope {
	r.t.Helper()
	e, err := r.read(wire.MaxEnvelopeSize)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *raw) put(e wire.Envelope) {
	r.t.Helper()
	f, err := wire.AppendFrame(nil, e)
	if err == nil {
		err = r.write(f)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) wantError(id string, code wire.Code) {
	r.t.Helper()
	e := r.next()
	var told wire.Error
	if err := json.Unmarshal(e.Body, &told); err != nil || e.Kind != wire.KindError || e.ID != id || told.Code != code {
		r.t.Errorf("got %s %s %s, want error %s for %s", e.Kind, e.ID, e.Body, code, id)
	}
}

// TestRawPeer: what a peer may send that no well-behaved one does.
func TestRawPeer(t *testing.T) {
	request := wire.Envelope{Version: 1, ID: "r1", Kind: wire.KindSignRequest, Body: json.RawMessage(`{"requestID":"r1"}`)}
	serve := func(ctx context.Context, req *Request) (wire.Kind, any) {
		return wire.KindSignResponse, wire.SignResponse{RequestID: req.Envelope.ID, Signature: []byte("s")}
	}
	for name, play := range map[string]func(t *testing.T, c *couple, r *raw){
		"unknown kind is answered and ignored": func(t *testing.T, c *couple, r *raw) {
			r.put(wire.Envelope{Version: 1, ID: "x", Kind: "dance"})
			r.wantError("x", wire.CodeVersionUnsupported)
			r.put(wire.Envelope{Version: 2, ID: "y", Kind: wire.KindSignRequest})
			r.wantError("y", wire.CodeVersionUnsupported)
			r.put(wire.Envelope{Version: 1, ID: "p", Kind: wire.KindPing})
			if e := r.next(); e.Kind != wire.KindPong || e.ID != "p" {
				t.Errorf("ping answered by %s %s", e.Kind, e.ID)
			}
		},
		"a duplicate on the same link is judged by the replay guard": func(t *testing.T, c *couple, r *raw) {
			r.put(request)
			r.next()
			r.put(request)
			r.next()
			if len(c.phone.served) != 2 {
				t.Errorf("served %d times", len(c.phone.served))
			}
		},
		"a changed request under the same ID is judged anew on another link": func(t *testing.T, c *couple, r *raw) {
			r.put(request)
			r.next()
			r2 := c.dialRaw(t)
			defer r2.finish()
			changed := request
			changed.Body = json.RawMessage(`{"requestID":"r1","x":1}`)
			r2.put(changed)
			r2.next()
			if len(c.phone.served) != 2 {
				t.Errorf("served %d times", len(c.phone.served))
			}
			r3 := c.dialRaw(t)
			defer r3.finish()
			r3.put(request) // redelivered
			r3.next()
			if len(c.phone.served) != 2 {
				t.Errorf("served %d times", len(c.phone.served))
			}
			r3.put(request) // and no second time on the same link
			r3.next()
			if len(c.phone.served) != 3 {
				t.Errorf("served %d times", len(c.phone.served))
			}
		},
		"garbage costs the connection": func(t *testing.T, c *couple, r *raw) {
			_ = r.write([]byte("\x00\x00\x00\x02{]"))
			r.wantError(linkID, wire.CodeMalformedRequest)
			c.phone.until(func() bool { return c.phone.down == 1 })
			if !errors.Is(c.phone.lastReason(), ErrMalformed) {
				t.Errorf("reason %v", c.phone.lastReason())
			}
		},
		"a frame over 512 KiB costs the connection": func(t *testing.T, c *couple, r *raw) {
			_ = r.write([]byte("\x00\x08\x00\x01{"))
			r.wantError(linkID, wire.CodeMalformedRequest)
		},
		"a peer that does not read is closed": func(t *testing.T, c *couple, r *raw) {
			for i := range 10000 {
				if r.write(must(wire.AppendFrame(nil, wire.Envelope{Version: 1, ID: fmt.Sprint(i), Kind: wire.KindPing}))) != nil {
					break
				}
			}
			c.phone.until(func() bool { return c.phone.down == 1 })
			if !errors.Is(c.phone.lastReason(), ErrSlowPeer) {
				t.Errorf("reason %v", c.phone.lastReason())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCouple(t, serve)
				defer c.startPhone()()
				r := c.dialRaw(t)
				defer r.finish()
				play(t, c, r)
			})
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *raw) finish() { r.close(ErrNodeClosed); r.wait() }

func (c *couple) startPhone() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.phone.Node.Serve(ctx, c.net) }()
	stopPhone := c.phone.run()
	return func() { stopPhone(); cancel(); <-done }
}

// TestWrongAnswers: a phone that answers twice, answers what was not asked, or
// answers with the wrong kind.
func TestWrongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.agent.run()()
		far := must(c.net.Accept())
		config := baseTLS(c.phone.key, func(device.ID) error { return nil })
		tc := must(c.phone.handshake(t.Context(), tls.Server(far, config)))
		r := &raw{newConn(tc, time.Second), t}
		defer r.finish()
		must(c.phone.exchange(t.Context(), r.conn))
		_ = tc.SetReadDeadline(time.Time{})

		ask := func(kind wire.Kind) chan error {
			got := make(chan error, 1)
			go func() {
				e, err := c.agent.Ask(t.Context(), c.phone.id, kind, wire.NewID(), nil, nil)
				if err == nil && e.Kind != responseTo[kind] {
					err = fmt.Errorf("got %s", e.Kind)
				}
				got <- err
			}()
			return got
		}
		reply := func(id string, kind wire.Kind) { r.put(wire.Envelope{Version: 1, ID: id, Kind: kind}) }

		first := ask(wire.KindSignRequest)
		id := r.next().ID
		reply("somebody-elses", wire.KindSignResponse)
		synctest.Wait()
		if len(first) != 0 {
			t.Fatal("took the answer for another request")
		}
		reply(id, wire.KindSignResponse)
		reply(id, wire.KindSignResponse)
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		second := ask(wire.KindSignRequest)
		reply(id, wire.KindSignResponse)
		synctest.Wait()
		if len(second) != 0 {
			t.Fatal("took the second answer for the next request")
		}
		reply(r.next().ID, wire.KindCertificateResponse)
		if err := <-second; wire.CodeOf(err) != wire.CodeMalformedRequest {
			t.Errorf("wrong kind: %v", err)
		}
		third := ask(wire.KindKeyListRequest)
		reply(r.next().ID, wire.KindKeyListResponse)
		if err := <-third; err != nil {
			t.Errorf("the link did not survive: %v", err)
		}
	})
}

// TestFrameOf: the frame is the one that wire would have made.
func TestFrameOf(t *testing.T) {
	for _, body := range []any{nil, wire.Cancel{RequestID: "a<b"}, json.RawMessage(`{"a":1}`)} {
		want := must(wire.AppendFrame(nil, must(wire.NewEnvelope("i\"d", wire.KindCancel, body))))
		if got := must(frameOf("i\"d", wire.KindCancel, body)); string(got) != string(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if _, err := frameOf("id", wire.KindCancel, strings.Repeat("x", wire.MaxEnvelopeSize)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// TestBusy: one request more than MaxRequests is refused, the others go on.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newCouple(t, func(ctx context.Context, req *Request) (wire.Kind, any) {
			<-release
			return wire.KindKeyListResponse, wire.KeyListResponse{}
		})
		defer c.start()()
		c.linked()
		got := make(chan error, MaxRequests)
		for range MaxRequests {
			go func() { _, err := c.askList(t.Context()); got <- err }()
		}
		synctest.Wait()
		if _, err := c.askList(t.Context()); wire.CodeOf(err) != wire.CodeSignerBusy {
			t.Errorf("one more: %v", err)
		}
		close(release)
		for range MaxRequests {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}
