//go:build linux || darwin

package nativephone

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/signer"
	"vmux/internal/sshctx"
	"vmux/internal/state"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// newPhone returns a phone in a home of its own, and that home.
func newPhone(t *testing.T) (*Phone, state.Home) {
	t.Helper()
	t.Setenv("VMUX_HOME", filepath.Join(t.TempDir(), "h"))
	home, err := state.Find()
	if err != nil {
		t.Fatal(err)
	}
	return openPhone(t, home), home
}

func openPhone(t *testing.T, home state.Home) *Phone {
	t.Helper()
	return openAsking(t, home, signer.Approver{})
}

func openAsking(t *testing.T, home state.Home, approver signer.Approver) *Phone {
	t.Helper()
	p, err := Open(home, "a test", approver, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// patience bounds every wait.
const patience = 60 * time.Second

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

// words collects what a phone says.
type words struct {
	mu   sync.Mutex
	said []string
}

func (w *words) say(s, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, s)
}

func (w *words) wait(t *testing.T, begin string) {
	t.Helper()
	waitFor(t, begin, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.said, func(s string) bool { return strings.HasPrefix(s, begin) })
	})
}

// start runs the phone at a loopback address until the test ends.
func start(t *testing.T, p *Phone) (w *words, stop func()) {
	t.Helper()
	w = &words{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, RunConfig{Listen: "127.0.0.1:0", State: w.say, Perform: performs}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	w.wait(t, "Advertising")
	return w, stop
}

// computer is the other end: a node with an open invitation.
type computer struct {
	node  *link.Node
	trust *device.Trust
	inv   device.Invitation
	gone  chan device.ID
	again chan struct{}
}

func (*computer) LinkUp(device.Peer, wire.Hello, string)                    {}
func (*computer) LinkDown(device.Peer, error)                               {}
func (c *computer) Unpaired(p device.Peer)                                  { c.gone <- p.ID }
func (*computer) Paired(device.Peer)                                        {}
func (*computer) Serve(context.Context, *link.Request) (k wire.Kind, b any) { return }

func newComputer(t *testing.T, name string) *computer {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &computer{trust: device.NewTrust(&testkit.Document{}), gone: make(chan device.ID, 1), again: make(chan struct{}, 1)}
	c.node = link.New(link.Config{Key: key, Trust: c.trust, Name: name, Handler: c, Routes: []link.Route{lan.NewDialer(false, nil)}})
	c.inv = device.NewInvitation(key.ID(), name, []string{lan.Route(l.Addr().String())}, "")
	c.node.Offer(device.NewOffer(c.inv, time.Now()))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.node.Serve(ctx, l) })
	wg.Go(func() { _ = c.node.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return c
}

// Whom a command unpairs gets no further signature: neither for a request that waits,
// though it is approved in that very moment, nor for the next.
func TestUnpairWhileItIsAsked(t *testing.T) {
	p, home := newPhone(t)
	p.Close()
	asked := 0
	var running *Phone
	running = openAsking(t, home, signer.Approver{
		Sign: func(_ context.Context, s signer.SignSheet) (signer.SignDecision, error) {
			asked++
			return signer.SignDecision{Approved: true}, running.Unpair(s.From.ID)
		},
		Passphrase: func(context.Context, signer.PassphraseRequest) ([]byte, error) { return []byte("secret"), nil },
	})
	id, err := running.Signer.Identities.Create("key", ssh.KeyAlgoED25519, 0, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	c := newComputer(t, "laptop")
	peer, err := running.Pair(t.Context(), c.inv, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &handler{phone: running, say: func(string) {}, log: slog.New(slog.DiscardHandler)}
	for range 2 {
		r := wire.RemoteSignRequest{
			Asking:       wire.NewAsking(peer.ID.String(), "laptop", time.Now(), time.Minute),
			KeyAlgorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Origin: wire.Origin, DataToSign: []byte("data"),
			Context: wire.Context{ContextQuality: wire.QualityUnknown},
		}
		e, err := wiretest.Envelope(r.RequestID, wire.KindSignRequest, r)
		if err != nil {
			t.Fatal(err)
		}
		kind, answer := h.Serve(t.Context(), &link.Request{From: peer, Envelope: e})
		if told, ok := answer.(*wire.Error); kind != wire.KindError || !ok || told.Code != wire.CodePairingInvalid {
			t.Errorf("answered by %s: %+v", kind, answer)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}

// granting is a phone that approves each request, and the like of it for an hour, and how a
// paired computer asks it.
type granting struct {
	*Phone
	*handler
	peer device.Peer
	ask  func()
}

func newGranting(t *testing.T) granting {
	t.Helper()
	p, home := newPhone(t)
	p.Close()
	running := openAsking(t, home, signer.Approver{
		Sign: func(context.Context, signer.SignSheet) (signer.SignDecision, error) {
			return signer.SignDecision{Approved: true, Grant: time.Hour}, nil
		},
		Passphrase: func(context.Context, signer.PassphraseRequest) ([]byte, error) { return []byte("secret"), nil },
	})
	id, err := running.Signer.Identities.Create("key", ssh.KeyAlgoED25519, 0, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Signer.EnableGrants(true); err != nil {
		t.Fatal(err)
	}
	peer := device.Peer{ID: running.ID(), Name: wire.Clean("laptop")}
	h := &handler{phone: running, say: func(string) {}, log: slog.New(slog.DiscardHandler)}
	login := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: make([]byte, 32), User: "root", Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: id.PublicKey,
	}
	return granting{running, h, peer, func() {
		t.Helper()
		r := wire.RemoteSignRequest{
			Asking:       wire.NewAsking(peer.ID.String(), "laptop", time.Now(), time.Minute),
			KeyAlgorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Origin: wire.Origin, DataToSign: login.Marshal(),
			Context: wire.Context{ContextQuality: wire.QualityUnknown},
		}
		e, err := wiretest.Envelope(r.RequestID, wire.KindSignRequest, r)
		if err != nil {
			t.Fatal(err)
		}
		if kind, answer := h.Serve(t.Context(), &link.Request{From: peer, Envelope: e}); kind != wire.KindSignResponse {
			t.Fatalf("answered by %s: %+v", kind, answer)
		}
	}}
}

// A computer that is unpaired, by whichever side, has no grants when it is paired
// anew.
func TestGrantsEndWithThePairing(t *testing.T) {
	g := newGranting(t)
	for name, end := range map[string]func() error{
		"by a command":    func() error { return g.Unpair(g.peer.ID) },
		"by the computer": func() error { g.Unpaired(g.peer); return nil },
	} {
		if err := g.Trust.Add(g.peer); err != nil {
			t.Fatal(err)
		}
		g.ask()
		if list := g.Signer.Grants(); len(list) != 1 {
			t.Fatalf("grants %+v", list)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if list := g.Signer.Grants(); len(list) != 0 {
			t.Errorf("unpaired %s: grants %+v", name, list)
		}
	}
}

// Where no logind tells of a sleep, nothing passes after it by what was granted before.
func TestGrantsEndWithASleep(t *testing.T) {
	g := newGranting(t)
	var slept time.Duration
	forgotten := 0
	g.sleeps.Slept = func() time.Duration { return slept }
	g.Forget = func() int { forgotten++; return 0 }
	if err := g.Trust.Add(g.peer); err != nil {
		t.Fatal(err)
	}
	granted := func() time.Time {
		t.Helper()
		g.ask()
		list := g.Signer.Grants()
		if len(list) != 1 {
			t.Fatalf("grants %+v", list)
		}
		return list[0].Until
	}
	first := granted()
	if again := granted(); !again.Equal(first) || forgotten != 0 {
		t.Errorf("asked though it was granted: until %v and %v; %d times forgotten", first, again, forgotten)
	}
	slept = time.Minute
	if again := granted(); again.Equal(first) || forgotten != 1 {
		t.Errorf("not asked though it has slept: until %v and %v; %d times forgotten", first, again, forgotten)
	}
}

// A computer is paired before the phone runs for the first time, and finds it
// once it does.
func TestPairBeforeTheFirstRun(t *testing.T) {
	p, home := newPhone(t)
	c := newComputer(t, "laptop")
	if _, err := p.Pair(t.Context(), c.inv, nil); err != nil {
		t.Fatal(err)
	}
	p.Close()
	w, stop := start(t, openPhone(t, home))
	w.wait(t, "Connected to laptop")
	stop()
	w.wait(t, "Offline")
}

func TestComputerEndsThePairing(t *testing.T) {
	p, _ := newPhone(t)
	w, _ := start(t, p)
	c := newComputer(t, "laptop")
	if _, err := p.Pair(t.Context(), c.inv, nil); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "Connected to laptop")
	// A computer that unpairs while its link is only coming up tells nobody.
	waitFor(t, "the computer's link", func() bool { l := c.node.Peers(); return len(l) == 1 && l[0].Connected })
	if err := c.trust.Remove(p.ID()); err != nil {
		t.Fatal(err)
	}
	c.node.Disconnect(p.ID(), wire.NewError(wire.CodePairingInvalid))
	w.wait(t, "laptop has ended the pairing")
	if peers, err := p.Trust.Peers(); len(peers) != 0 || err != nil {
		t.Errorf("still paired: %v, %v", peers, err)
	}
}

// Paired computers come back to the port where they last saw the phone.
func TestPortIsKept(t *testing.T) {
	p, home := newPhone(t)
	_, stop := start(t, p)
	first, err := p.kept()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	p.Close()
	p = openPhone(t, home)
	_, stop = start(t, p)
	if again, err := p.kept(); again != first || err != nil {
		t.Errorf("first %s, then %s, %v", first, again, err)
	}
	stop()
	taken, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p.Close()
	p = openPhone(t, home)
	start(t, p)
	if other, err := p.kept(); other == first || err != nil {
		t.Errorf("the port was taken, and yet %s, %v", other, err)
	}
}

func TestRoutesFaceTheComputer(t *testing.T) {
	for _, test := range []struct{ address, theirs, want string }{
		{"127.0.0.1:4711", "tcp:192.0.2.1:1", "tcp:127.0.0.1:4711"},
		{"[::]:4711", "tcp:127.0.0.1:1", "tcp:127.0.0.1:4711"},
		{"0.0.0.0:4711", "tcp:[::1]:1", "tcp:[::1]:4711"},
	} {
		got := reachable(t.Context(), test.address, []string{test.theirs, "hub:https://example.org"})
		if len(got) == 0 || got[0] != test.want || len(got) > maxRoutes {
			t.Errorf("%s, from %s: %v", test.address, test.theirs, got)
		}
	}
}

// Whoever can connect, but is not paired, gets nothing but pairingInvalid.
func TestUnpairedDeviceIsTurnedAway(t *testing.T) {
	p, _ := newPhone(t)
	start(t, p)
	address, err := p.kept()
	if err != nil {
		t.Fatal(err)
	}
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{
		Certificates: []tls.Certificate{key.Certificate()}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"vmux/1"},
	})
	if err != nil {
		return // refused in the handshake: as good
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	frame, err := wiretest.Envelope("1", wire.KindKeyListRequest, wire.KeyListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := wiretest.Frame(frame)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(b) // the phone may have closed already
	all := make([]byte, 4096)
	for {
		n, err := conn.Read(all)
		if strings.Contains(string(all[:n]), "keyListResponse") {
			t.Fatal("an unpaired device got the list of keys")
		}
		if err != nil {
			return
		}
	}
}
