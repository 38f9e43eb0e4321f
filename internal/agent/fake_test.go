package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/keys"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// memory is the agent's state folder in memory.
type memory struct {
	mu   sync.Mutex
	docs map[string][]byte
}

func newMemory() *memory { return &memory{docs: map[string][]byte{}} }

func (m *memory) Get(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.docs[name]), nil
}

func (m *memory) Put(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.docs[name] = slices.Clone(b)
	return nil
}

func (m *memory) SetAside(name string, _ time.Time) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	aside := name + ".damaged"
	m.docs[aside] = m.docs[name]
	delete(m.docs, name)
	return aside, nil
}

// phone is a phone of a test's, with a CA and keys of its own.
type phone struct {
	peer   device.Peer
	hello  wire.Hello
	keys   []wire.RemoteSignerPublicKey
	ca     ssh.Signer
	asked  []wire.CertificateRequest
	gone   int // requests that were withdrawn
	answer func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error)

	mu        sync.Mutex    // guards asked, gone and answer
	connected bool          // guarded by the network's
	up        chan struct{} // closed when it connects
}

// network is the in-memory twin of a link.Node.
type network struct {
	mu     sync.Mutex
	phones map[device.ID]*phone
	woken  int
}

func (n *network) Ask(ctx context.Context, to device.ID, kind wire.Kind, id string, body any, received func()) (wire.Envelope, error) {
	n.mu.Lock()
	p := n.phones[to]
	up := p.up
	n.mu.Unlock()
	select {
	case <-up:
	case <-ctx.Done():
		return wire.Envelope{}, context.Cause(ctx)
	}
	p.mu.Lock()
	does := p.answer
	p.mu.Unlock()
	answerKind, answer, err := does(ctx, kind, body, received)
	if ctx.Err() != nil {
		p.mu.Lock()
		p.gone++
		p.mu.Unlock()
		return wire.Envelope{}, context.Cause(ctx)
	}
	if err != nil {
		return wire.Envelope{}, err
	}
	return wiretest.Envelope(id, answerKind, answer)
}

func (n *network) Peers() []link.PeerStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []link.PeerStatus
	for _, p := range n.phones {
		list = append(list, link.PeerStatus{ID: p.peer.ID, Name: p.peer.Name, Connected: p.connected, Hello: p.hello})
	}
	slices.SortFunc(list, func(a, b link.PeerStatus) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return list
}

func (n *network) Connected(id device.ID) bool {
	return slices.ContainsFunc(n.Peers(), func(p link.PeerStatus) bool { return p.ID == id && p.Connected })
}

func (n *network) Wake()                                      { n.mu.Lock(); n.woken++; n.mu.Unlock() }
func (n *network) RoundTrip(context.Context, device.ID) error { return nil }
func (n *network) Disconnect(device.ID, *wire.Error)          {}
func (n *network) Offer(*device.Offer)                        {}
func (n *network) Serve(context.Context, net.Listener) error  { return nil }

// world is an agent and its network, without sockets.
type world struct {
	*Agent
	t    *testing.T
	net  *network
	docs keys.Documents
	stop func()
}

func newWorld(t *testing.T) *world {
	return newWorldIn(t, newMemory(), device.NewTrust(&testkit.Document{}))
}

func newWorldIn(t *testing.T, docs keys.Documents, trust *device.Trust) *world {
	t.Helper()
	c := Config{Name: "computer", Log: slog.New(slog.DiscardHandler)}
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	a, err := newAgent(c, docs, device.ID{9}, trust)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{phones: map[device.ID]*phone{}}
	a.node = n
	ctx, cancel := context.WithCancel(context.Background())
	a.tasks.start(ctx)
	w := &world{Agent: a, t: t, net: n, docs: docs}
	w.stop = func() { cancel(); a.tasks.wait() }
	t.Cleanup(w.stop)
	return w
}

// keepLife runs what renews and expires until the test ends.
func (w *world) keepLife() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.certificate.Run(ctx) }()
	stop := w.stop
	w.stop = func() { cancel(); <-done; stop() }
	w.t.Cleanup(w.stop)
}

// addPhone pairs a phone that approves everything.
func (w *world) addPhone(n byte, name string) *phone {
	w.t.Helper()
	p := &phone{peer: device.Peer{ID: device.ID{n}, Name: wire.Clean(name), PairedAt: time.Now()}, ca: newSigner(w.t), up: make(chan struct{})}
	p.hello = wire.Hello{AutomaticIssuance: true, CAPublicKey: p.ca.PublicKey().Marshal()}
	p.answer = p.approve
	if err := w.trust.Add(p.peer); err != nil {
		w.t.Fatal(err)
	}
	if err := w.cas.Expect(p.peer.ID); err != nil {
		w.t.Fatal(err)
	}
	w.net.mu.Lock()
	w.net.phones[p.peer.ID] = p
	w.net.mu.Unlock()
	return p
}

func (w *world) connect(p *phone) {
	w.net.mu.Lock()
	if !p.connected {
		p.connected = true
		close(p.up)
	}
	w.net.mu.Unlock()
	handler{w.Agent}.LinkUp(p.peer, p.hello, "tcp:192.0.2.7:1")
}

// says sets whether the phone's policy lets the agent ask by itself.
func (w *world) says(p *phone, automatic bool) {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	p.hello.AutomaticIssuance = automatic
}

func (w *world) disconnect(p *phone) {
	w.net.mu.Lock()
	p.connected, p.up = false, make(chan struct{})
	w.net.mu.Unlock()
	handler{w.Agent}.LinkDown(p.peer, link.ErrDead)
}

// approve answers as a phone whose user approves everything at once.
func (p *phone) approve(_ context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
	switch r := body.(type) {
	case wire.KeyListRequest:
		p.mu.Lock()
		defer p.mu.Unlock()
		return wire.KindKeyListResponse, wire.KeyListResponse{Keys: p.keys}, nil
	case *wire.CertificateRequest:
		received()
		p.note(r)
		return wire.KindCertificateResponse, wiretest.Issue(p.ca, *r, time.Duration(r.RequestedValiditySeconds)*time.Second, nil), nil
	}
	return "", nil, wire.NewError(wire.CodeInternalError)
}

// refuse answers certificate requests with a code.
func (p *phone) refuse(code wire.Code) {
	p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
		r, ok := body.(*wire.CertificateRequest)
		if !ok {
			return p.approve(ctx, kind, body, received)
		}
		received()
		p.note(r)
		return wire.KindCertificateResponse, wire.CertificateResponse{RequestID: r.RequestID, Error: wire.NewError(code)}, nil
	})
}

// staysSilent shows certificate requests, and nobody looks.
func (p *phone) staysSilent() {
	p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
		r, ok := body.(*wire.CertificateRequest)
		if !ok {
			return p.approve(ctx, kind, body, received)
		}
		p.note(r)
		received()
		<-ctx.Done()
		return "", nil, ctx.Err()
	})
}

var newSigner = wiretest.NewSigner

func remoteKey(s ssh.Signer, comment string) wire.RemoteSignerPublicKey {
	return wire.RemoteSignerPublicKey{
		Algorithm: s.PublicKey().Type(), PublicKeyBlob: s.PublicKey().Marshal(), Comment: comment, ProviderKind: wire.ProviderUnknown,
	}
}

func (w *world) comments() []string {
	var list []string
	for _, id := range w.Listing(w.t.Context(), sshagent.Connection{}).Identities() {
		list = append(list, id.Comment)
	}
	return list
}

func (w *world) state() control.CertificateState { return w.ShowCertificate().State }

// answerer is what a phone does with a request.
type answerer = func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error)

func (p *phone) does(f answerer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *phone) note(r *wire.CertificateRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, *r)
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

// own is a connection of this very process, which binds nothing.
var own = sshagent.Connection{Peer: sshagent.Peer{PID: os.Getpid()}}

// loginBy is what a client has signed that logs in by the key or certificate.
func loginBy(blob, session []byte) []byte {
	return sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: session, User: "root", Service: "ssh-connection",
		Algorithm: sshctx.KeyType(blob), PublicKey: blob,
	}.Marshal()
}

// certificate is the blob of the certificate that is listed.
func (w *world) listedCertificate() []byte {
	w.t.Helper()
	for _, id := range w.Listing(w.t.Context(), sshagent.Connection{}).Identities() {
		if id.Comment == certificate.Comment {
			return id.Blob
		}
	}
	w.t.Fatal("no certificate is listed")
	return nil
}

// signsLogin reports whether the certificate of that blob signs a login.
func (w *world) signsLogin(blob []byte) bool {
	w.t.Helper()
	signature, ok, err := w.SignLocal(own, blob, loginBy(blob, make([]byte, 32)), 0)
	return ok && err == nil && len(signature) > 0
}
