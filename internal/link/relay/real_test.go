//go:build !js

package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/hub"
	"vmux/internal/link"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// running is a hub on a port of loopback that can be ended and started again.
type running struct {
	t      *testing.T
	place  place
	handle func() (http.Handler, func())
	end    func()
}

// hubs are the kinds of hub that devices must get on with: the double that the
// other tests use, over real WebSockets, and the real one.
var hubs = map[string]func(t *testing.T, url string) func() (http.Handler, func()){
	"double": func(t *testing.T, url string) func() (http.Handler, func()) {
		return func() (http.Handler, func()) { h := hubtest.New(url); return h, h.Wait }
	},
	"real": func(t *testing.T, url string) func() (http.Handler, func()) {
		dir := t.TempDir()
		return func() (http.Handler, func()) {
			h := must(hub.New(hub.Config{PublicURL: url, StateDir: dir}))
			return h, h.Close
		}
	},
}

func onEachHub(t *testing.T, test func(t *testing.T, h *running)) {
	for name, kind := range hubs {
		t.Run(name, func(t *testing.T) {
			l := must(net.Listen("tcp", "127.0.0.1:0"))
			url := "http://" + l.Addr().String()
			h := &running{t: t, place: place{url: url}, handle: kind(t, url)}
			h.start(l)
			t.Cleanup(func() { h.end() })
			test(t, h)
		})
	}
}

// start serves until end, which also ends what devices have open.
func (h *running) start(l net.Listener) {
	handler, closeHub := h.handle()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	conns := &connTracker{Listener: l}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(conns) }()
	h.end = func() {
		_ = server.Close()
		conns.closeAll()
		closeHub()
		<-done
		h.end = func() {}
	}
}

func (h *running) again() {
	l := must(net.Listen("tcp", strings.TrimPrefix(h.place.url, "http://")))
	h.start(l)
}

func seconds(t *testing.T, n int) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestOverWebSocket: links over the network, small and large messages in both
// directions, many at once.
func TestOverWebSocket(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		c := newCouple(t, h.place)
		c.phone.serve = func(_ context.Context, req *link.Request) (wire.Kind, any) {
			return wire.KindKeyListResponse, req.Envelope.Body
		}
		defer c.start()()
		ctx := seconds(t, 30)
		got := make(chan error)
		const asks = 8
		for i := range asks {
			go func() {
				body := struct {
					Data []byte `json:"data"`
				}{bytes.Repeat([]byte{byte(i)}, i*40000)}
				e, err := c.agent.Ask(ctx, c.phone.id, wire.KindKeyListRequest, wire.NewID(), body, nil)
				want := must(wiretest.Envelope("", "", body)).Body
				if err == nil && !bytes.Equal(e.Body, want) {
					err = fmt.Errorf("%d bytes came back, %d were sent", len(e.Body), len(want))
				}
				got <- err
			}()
		}
		for range asks {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		if s := c.agent.Client.Status(); !s.Connected {
			t.Errorf("status %+v", s)
		}
	})
}

// TestHubEnds: the hub is killed while a person is asked, and comes back.
func TestHubEnds(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		c := newCouple(t, h.place)
		release := make(chan struct{})
		c.phone.serve = approving(release)
		defer c.start()()
		c.linked()
		got := c.agent.askSign(seconds(t, 60), c.phone)
		c.phone.until(func() bool { return len(c.phone.served) == 1 })
		h.end()
		c.agent.until(func() bool { return c.agent.down == 1 })
		h.again()
		c.agent.until(func() bool { return c.agent.up == 2 })
		close(release)
		if err := <-got; err != nil || len(c.phone.served) != 1 {
			t.Errorf("%v, shown %d times", err, len(c.phone.served))
		}
	})
}

// TestPairOverWebSocket: an unpaired device with the token gets through, once.
func TestPairOverWebSocket(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		agent, phone, attacker := newAgent(t, "laptop", h.place), newPhone(t, "phone", h.place), newPhone(t, "attacker", h.place)
		for _, a := range []*actor{agent, phone, attacker} {
			defer a.start()()
		}
		guess := device.NewInvitation(agent.id, "laptop", []string{relay.Route(h.place.url)}, "")
		if _, err := attacker.Pair(seconds(t, 20), guess, nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("without the token: %v", err)
		}
		inv := inviting(t, agent, relay.Route(h.place.url))
		if _, err := phone.Pair(seconds(t, 20), inv, []string{relay.Route(h.place.url)}); err != nil {
			t.Fatal(err)
		}
		phone.linked()
		if err := agent.askList(seconds(t, 20), phone); err != nil {
			t.Error(err)
		}
		if _, err := attacker.Pair(seconds(t, 20), inv, nil); !errors.Is(err, device.ErrInvitationEnded) {
			t.Errorf("second use of the invitation: %v", err)
		}
	})
}

// TestErrandsOverWebSocket: a device that cannot be woken.
func TestErrandsOverWebSocket(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		c := newCouple(t, h.place)
		defer c.start()()
		c.linked()
		var refused *relay.Error
		if err := c.agent.Client.WakePeer(seconds(t, 10), c.phone.id); !errors.As(err, &refused) || refused.Code != hubwire.CodeNotSubscribed {
			t.Errorf("%v", err)
		}
	})
}

// TestTLSHub: the certificate of the hub must be one that the client trusts.
func TestTLSHub(t *testing.T) {
	var h *hubtest.Hub
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	h = hubtest.New(server.URL)
	defer func() { server.CloseClientConnections(); server.Close(); h.Wait() }()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	run := func(roots *x509.CertPool) relay.Status {
		key := must(device.NewKey())
		changed := make(chan struct{}, 8)
		c := must(relay.New(relay.Config{
			URL: server.URL, Key: key, Allow: func() []device.ID { return nil }, RootCAs: roots,
			Changed: func() { changed <- struct{}{} },
		}))
		defer inBackground(c.Run)()
		<-changed
		return c.Status()
	}
	if s := run(x509.NewCertPool()); s.Connected || !errorIs[*tls.CertificateVerificationError](s.LastError) {
		t.Errorf("an unknown certificate: %+v", s)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	if s := run(roots); !s.Connected {
		t.Errorf("a known certificate: %+v", s)
	}
}

func errorIs[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestNoHub: what answers at the address is a web server, redirects to another
// hub, or speaks another protocol.
func TestNoHub(t *testing.T) {
	other := hubtest.New("http://127.0.0.1")
	elsewhere := httptest.NewServer(other)
	defer elsewhere.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"a web server": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("hello")) },
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		},
		"a long header":    func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"another protocol": func(w http.ResponseWriter, r *http.Request) { otherProtocol(w, r) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			if s, err := relay.OpenSocket(seconds(t, 10), server.URL+hubwire.Path, relay.Way{}); err == nil {
				_ = s.Close()
				t.Error("taken for a hub")
			}
		})
	}
	if other.Connects() != 0 {
		t.Error("followed a redirection")
	}
}

// TestPairingBreaks: the phone's network goes in the middle of the handshake. The
// same invitation is good for another try.
func TestPairingBreaks(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		agent := newAgent(t, "laptop", h.place)
		var frail atomic.Bool
		frail.Store(true)
		phone := newPhone(t, "phone", place{h.place.url, func(ctx context.Context, url string) (relay.Socket, error) {
			s, err := relay.OpenSocket(ctx, url, relay.Way{})
			return &frailSocket{Socket: s, breaks: &frail}, err
		}})
		for _, a := range []*actor{agent, phone} {
			defer a.start()()
		}
		inv := inviting(t, agent, relay.Route(h.place.url))
		if _, err := phone.Pair(seconds(t, 20), inv, nil); !errors.Is(err, relay.ErrHubLost) {
			t.Errorf("with the network gone: %v", err)
		}
		ctx := seconds(t, 20)
		for ctx.Err() == nil { // the agent hears of the end first
			if _, err := phone.Pair(ctx, inv, nil); err == nil {
				break
			} else if !errors.Is(err, device.ErrInvitationEnded) && !errors.Is(err, relay.ErrHubLost) {
				t.Fatal(err)
			}
		}
		phone.linked()
		if err := agent.askList(ctx, phone); err != nil {
			t.Error(err)
		}
	})
}

// frailSocket breaks at the first data that is sent, once.
type frailSocket struct {
	relay.Socket
	breaks *atomic.Bool
}

func (s *frailSocket) Write(text bool, b []byte) error {
	if !text && hubwire.Kind(b[0]) == hubwire.KindData && s.breaks.Swap(false) {
		_ = s.Close()
	}
	return s.Socket.Write(text, b)
}
