package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/link/relay"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// handshakeBound is what connecting to a hub and the handshake through it may
// take together.
const handshakeBound = 4e-3 // seconds

// measureLink measures what links add to bytes on a connection, directly and
// through a hub, all on one CPU.
func (b *bench) measureLink() {
	url, pid := b.startRole("hub", b.TempDir())
	raw, web := b.rawTrip(), b.webSocketTrip()
	direct, relayed := b.linkTrip(""), b.linkTrip(url)
	handshake := b.handshakeTrip(url)
	relayed.pids = []int{pid}
	s := b.alternate(&raw, &web, &direct, &relayed, &handshake)
	add := func(what string, ours, theirs *trip, bound target) {
		b.table.add(row{what, theirs.name, seconds, values(s[ours], byP50), values(s[theirs], byP50), bound})
	}
	add("request and answer, direct link, p50", &direct, &raw, atMost(1.8))
	add("request and answer, link through a hub, p50", &relayed, &direct, target{})
	add("request and answer, link through a hub, p50", &relayed, &web, target{})
	b.table.within("connect and handshake through a hub, p50", seconds, values(s[&handshake], byP50), handshakeBound)
}

// rawTrip is an echo over a bare TCP connection.
func (b *bench) rawTrip() trip {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	b.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			passOn(c, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	b.must(err)
	b.Cleanup(func() { c.Close() })
	return trip{"raw TCP echo", nil, thereAndBack(c, make([]byte, hubMessage))}
}

// webSocketTrip is an echo over a bare WebSocket.
func (b *bench) webSocketTrip() trip {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		for err == nil {
			var kind websocket.MessageType
			var message []byte
			if kind, message, err = c.Read(context.Background()); err == nil {
				err = c.Write(context.Background(), kind, message)
			}
		}
	}))
	b.Cleanup(server.CloseClientConnections)
	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	b.must(err)
	b.Cleanup(func() { _ = c.CloseNow() })
	message := make([]byte, hubMessage)
	return trip{"bare WebSocket echo", nil, func() error {
		if err := c.Write(context.Background(), websocket.MessageBinary, message); err != nil {
			return err
		}
		_, _, err := c.Read(context.Background())
		return err
	}}
}

// linkEnd is one device, in this process.
type linkEnd struct {
	key   *device.Key
	trust *device.Trust
	hub   *relay.Client
	node  *link.Node
}

func (b *bench) newLinkEnd(url string, handler link.Handler, routes ...link.Route) *linkEnd {
	key, err := device.NewKey()
	b.must(err)
	e := &linkEnd{key: key, trust: device.NewTrust(new(testkit.Document))}
	if url != "" {
		e.hub = b.hubClient(url, key, e.trust.IDs)
		if routes != nil {
			routes = []link.Route{e.hub}
		}
	}
	e.node = link.New(link.Config{Key: key, Trust: e.trust, Name: "bench", Handler: handler, Routes: routes})
	return e
}

func (b *bench) hubClient(url string, key *device.Key, allow func() []device.ID) *relay.Client {
	c, err := relay.New(relay.Config{URL: url, Key: key, Allow: allow})
	b.must(err)
	return c
}

// linkTrip is a request and its answer on a link, both 600 bytes long: through
// the hub of the URL, or directly.
func (b *bench) linkTrip(url string) trip {
	phone := b.newLinkEnd(url, echoHandler{})
	agent := b.newLinkEnd(url, echoHandler{}, lan.NewDialer(false, nil))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	b.must(phone.trust.Add(device.Peer{ID: agent.key.ID(), Name: wire.Clean("agent")}))
	b.must(agent.trust.Add(device.Peer{ID: phone.key.ID(), Name: wire.Clean("phone"), Routes: []string{lan.Route(l.Addr().String())}}))
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	b.Cleanup(func() { cancel(); parts.Wait() })
	if url != "" {
		l = phone.hub.Listener()
		parts.Go(func() { _ = phone.hub.Run(ctx) })
		parts.Go(func() { _ = agent.hub.Run(ctx) })
	}
	parts.Go(func() { _ = phone.node.Serve(ctx, l) })
	parts.Go(func() { _ = phone.node.Run(ctx) })
	parts.Go(func() { _ = agent.node.Run(ctx) })
	ask := func(ctx context.Context) error {
		_, err := agent.node.Ask(ctx, phone.key.ID(), wire.KindKeyListRequest, wire.NewID(), linkPayload, nil)
		return err
	}
	linked, late := context.WithTimeout(ctx, 30*time.Second)
	defer late()
	b.must(ask(linked)) // waits for the link
	return trip{"direct link", nil, func() error { return ask(ctx) }}
}

// linkPayload makes an envelope of hubMessage bytes.
var linkPayload = struct {
	Data []byte `json:"data"`
}{make([]byte, 380)}

// echoHandler answers requests with as much as they bring.
type echoHandler struct{}

func (echoHandler) LinkUp(device.Peer, wire.Hello, string) {}
func (echoHandler) LinkDown(device.Peer, error)            {}
func (echoHandler) Unpaired(device.Peer)                   {}
func (echoHandler) Paired(device.Peer)                     {}
func (echoHandler) Serve(context.Context, *link.Request) (wire.Kind, any) {
	return wire.KindKeyListResponse, linkPayload
}

// handshakeTrip is what a device does that comes to the hub to reach another:
// WebSocket, proof, stream, and the mutual TLS handshake.
func (b *bench) handshakeTrip(url string) trip {
	near, far := b.newLinkEnd("", nil), b.newLinkEnd(url, nil)
	b.must(far.trust.Add(device.Peer{ID: near.key.ID(), Name: wire.Clean("near")}))
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	b.Cleanup(func() { cancel(); parts.Wait() })
	l := far.hub.Listener()
	parts.Go(func() { _ = far.hub.Run(ctx) })
	b.must(far.hub.Subscribe(ctx, nil)) // waits for the connection
	parts.Go(func() {
		defer context.AfterFunc(ctx, func() { l.Close() })()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			parts.Go(func() { _ = tls.Server(c, mutual(far.key)).HandshakeContext(ctx); _, _ = io.Copy(io.Discard, c) })
		}
	})
	secure := func(ctx context.Context, c net.Conn) (*tls.Conn, error) {
		tc := tls.Client(c, mutual(near.key))
		return tc, tc.HandshakeContext(ctx)
	}
	allow := func() []device.ID { return []device.ID{far.key.ID()} }
	return trip{"", nil, func() error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		client := b.hubClient(url, near.key, allow)
		var running sync.WaitGroup
		running.Go(func() { _ = client.Run(ctx) })
		c, _, err := client.Dial(ctx, device.Peer{ID: far.key.ID()}, secure)
		if err == nil {
			err = c.NetConn().Close()
		}
		cancel()
		running.Wait()
		return err
	}}
}

// mutual is what package link's handshakes are made of.
func mutual(key *device.Key) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{key.Certificate()}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, InsecureSkipVerify: true, // of a bench, within this process
	}
}
