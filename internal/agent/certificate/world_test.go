package certificate

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/leakcheck"
	"vmux/internal/link"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// phone has a CA, and answers requests for certificates.
type phone struct {
	peer device.Peer
	ca   ssh.Signer

	mu        sync.Mutex // guards what follows
	hello     wire.Hello
	connected bool
	answer    answerer
	asked     []wire.CertificateRequest
	gone      int // requests that were withdrawn
}

type answerer = func(ctx context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error)

// world is a manager and its phones, without an agent.
type world struct {
	*Manager
	t      *testing.T
	docs   memory
	guard  sync.Mutex
	phones map[device.ID]*phone // those that are paired; under guard
	ctx    context.Context
	tasks  sync.WaitGroup
	stop   func()
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, docs: memory{}, phones: map[device.ID]*phone{}}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	w.Manager = New(Config{
		Ask: w.ask, Phones: w.peers, Changed: func() {}, Log: log, Journal: journal.New(log),
		Go: func(f func(context.Context)) bool {
			w.tasks.Go(func() { f(w.ctx) })
			return true
		},
	})
	w.restart()
	w.stop = func() { cancel(); w.tasks.Wait() }
	t.Cleanup(w.stop)
	return w
}

// restart reads the CAs anew.
func (w *world) restart() {
	w.t.Helper()
	var err error
	if w.CAs, err = OpenCAs(w.docs, w.notPaired, w.Journal, w.Log); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) phone(id device.ID) *phone {
	w.guard.Lock()
	defer w.guard.Unlock()
	return w.phones[id]
}

func (w *world) unpair(p *phone) {
	w.guard.Lock()
	defer w.guard.Unlock()
	delete(w.phones, p.peer.ID)
}

func (w *world) notPaired(id device.ID) error {
	if w.phone(id) == nil {
		return errors.New("not paired")
	}
	return nil
}

// ask is a phone's window of a minute.
func (w *world) ask(ctx context.Context, id device.ID, r wire.CertificateRequest) (wire.CertificateResponse, error) {
	r.Asking = wire.NewAsking("this computer", "computer", time.Now(), time.Minute)
	p := w.phone(id)
	p.mu.Lock()
	p.asked = append(p.asked, r)
	answer := p.answer
	p.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, wire.NewError(wire.CodeRequestExpired))
	defer cancel()
	a, err := answer(ctx, r)
	if ctx.Err() != nil {
		p.mu.Lock()
		p.gone++
		p.mu.Unlock()
		return a, context.Cause(ctx)
	}
	return a, err
}

func (w *world) peers() []link.PeerStatus {
	w.guard.Lock()
	defer w.guard.Unlock()
	var list []link.PeerStatus
	for _, id := range slices.SortedFunc(maps.Keys(w.phones), device.ID.Compare) {
		p := w.phones[id]
		p.mu.Lock()
		list = append(list, link.PeerStatus{ID: id, Name: p.peer.Name, Connected: p.connected, Hello: p.hello})
		p.mu.Unlock()
	}
	return list
}

// addPhone pairs a phone that approves everything.
func (w *world) addPhone(n byte, name string) *phone {
	w.t.Helper()
	p := &phone{peer: device.Peer{ID: device.ID{n}, Name: wire.Clean(name)}, ca: newSigner(w.t)}
	p.hello = wire.Hello{AutomaticIssuance: true, CAPublicKey: p.ca.PublicKey().Marshal()}
	p.answer = p.approve
	w.guard.Lock()
	w.phones[p.peer.ID] = p
	w.guard.Unlock()
	if err := w.CAs.Expect(p.peer.ID); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) connect(p *phone) {
	p.mu.Lock()
	p.connected = true
	hello := p.hello
	p.mu.Unlock()
	w.Revoke(p.peer, hello.RevokedSerials)
	_ = w.CAs.Check(p.peer, hello.CAPublicKey)
	w.PhoneConnected(time.Now())
}

func (w *world) disconnect(p *phone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = false
}

// says sets whether the phone's policy lets the agent ask by itself.
func (p *phone) says(automatic bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hello.AutomaticIssuance = automatic
}

func (p *phone) does(f answerer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// approve answers as a phone whose user approves everything at once.
func (p *phone) approve(_ context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
	return p.issue(r, time.Duration(r.RequestedValiditySeconds)*time.Second, nil), nil
}

// refuse answers with a code.
func (p *phone) refuse(code wire.Code) {
	p.does(func(context.Context, wire.CertificateRequest) (wire.CertificateResponse, error) {
		return wire.CertificateResponse{}, wire.NewError(code)
	})
}

// staysSilent shows requests, and nobody looks.
func (p *phone) staysSilent() {
	p.does(func(ctx context.Context, _ wire.CertificateRequest) (wire.CertificateResponse, error) {
		<-ctx.Done()
		return wire.CertificateResponse{}, ctx.Err()
	})
}

// issue makes the certificate for a request; change spoils it.
func (p *phone) issue(r wire.CertificateRequest, validity time.Duration, change func(*ssh.Certificate)) wire.CertificateResponse {
	return wiretest.Issue(p.ca, r, validity, change)
}

func (p *phone) requests() []wire.CertificateRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *phone) withdrawn() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// inBubble runs a test in virtual time, with a certificate that is kept.
func inBubble(t *testing.T, f func(t *testing.T, w *world, p *phone)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tasks.Go(func() { w.Run(w.ctx) })
		f(t, w, w.addPhone(1, "phone"))
		w.stop()
	})
}

// asks is a request of a user's, of the phone's that would be asked.
func (w *world) asks(ctx context.Context, validity time.Duration, principals ...string) error {
	issuer, err := w.Issuer()
	if err != nil {
		return err
	}
	return w.Request(ctx, Wanted{Phone: issuer, Validity: validity, Principals: principals})
}

func (w *world) wantAsked(p *phone, n int, when string) {
	w.t.Helper()
	synctest.Wait()
	if len(p.requests()) != n {
		w.t.Fatalf("%s: asked %d times for a certificate, want %d", when, len(p.requests()), n)
	}
}

func (w *world) wantState(want control.CertificateState, when string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.state().State; got != want {
		w.t.Fatalf("%s: certificate is %s, want %s", when, got, want)
	}
}

func (w *world) state() control.Certificate {
	return w.Show(func(id device.ID) string { return w.phone(id).peer.Name.String() })
}

// signs reports whether the certificate of that blob signs.
func (w *world) signs(blob []byte) bool {
	w.t.Helper()
	s := w.Find(blob, time.Now())
	if s == nil {
		return false
	}
	signature, err := s.Sign([]byte("data"))
	return err == nil && len(signature) > 0
}

func (w *world) warnings() []string {
	var s control.Status
	w.Journal.Fill(&s)
	return s.Warnings
}

var newSigner = wiretest.NewSigner

// memory is the agent's state folder in memory. Its user writes one document at a
// time.
type memory map[string][]byte

func (m memory) Get(name string) ([]byte, error) { return slices.Clone(m[name]), nil }
func (m memory) Put(name string, b []byte) error { m[name] = slices.Clone(b); return nil }
func (m memory) SetAside(name string, _ time.Time) (string, error) {
	aside := name + ".damaged"
	m[aside] = m[name]
	delete(m, name)
	return aside, nil
}
