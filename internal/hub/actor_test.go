package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/leakcheck"
	"vmux/internal/link/hubwire"
	"vmux/internal/testkit"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// testHub is a hub behind a real listener.
type testHub struct {
	*Hub
	t   testing.TB
	url string
	log *testkit.Output
	end func() // closes the hub, once
}

// quick are limits for tests that wait for time to pass.
var quick = Limits{
	Handshake: 500 * time.Millisecond, PingAfter: 500 * time.Millisecond, DeadAfter: 1500 * time.Millisecond,
	WriteTime: 1500 * time.Millisecond, MessageTime: time.Second,
}

func newHub(t testing.TB, change ...func(*Config)) *testHub {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	log := &testkit.Output{}
	c := Config{
		PublicURL: "http://" + server.Listener.Addr().String(),
		Log:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Limits:    DefaultLimits,
	}
	c.Limits.CloseTimeout = patience // on a busy machine two seconds are nothing
	for _, f := range change {
		f(&c)
	}
	if c.NATSURL == "" && c.StateDir == "" {
		c.StateDir = t.TempDir()
	}
	h, err := New(c)
	if err != nil {
		server.Listener.Close()
		t.Fatal(err)
	}
	mux.Handle("/", h)
	server.Start()
	th := &testHub{Hub: h, t: t, url: server.URL, log: log, end: sync.OnceFunc(h.Close)}
	t.Cleanup(func() {
		th.end()
		server.CloseClientConnections()
		server.Close()
	})
	return th
}

// withLimits changes those limits that are set.
func withLimits(l Limits) func(*Config) {
	return func(c *Config) {
		all := reflect.ValueOf(&c.Limits).Elem()
		for i, set := range reflect.ValueOf(l).Fields() {
			if !set.IsZero() {
				all.FieldByIndex(i.Index).Set(set)
			}
		}
	}
}

// stats is how a hub is doing. Ended counts the connections that ended, by reason.
type stats struct {
	Devices, Elsewhere, Unproven, Queued int
	Ended                                map[string]int
}

func (h *testHub) Stats() stats {
	h.mu.RLock()
	s := stats{Devices: len(h.local), Elsewhere: len(h.remote), Queued: int(h.queued.Load()), Ended: map[string]int{}}
	h.mu.RUnlock()
	s.Unproven = h.addresses.waiting()
	for line := range strings.Lines(h.log.String()) {
		if _, reason, _ := strings.Cut(line, " reason="); strings.Contains(line, `msg="device left"`) {
			s.Ended[strings.TrimSpace(reason)]++
		}
	}
	return s
}

// waiting is how many connections are unproven.
func (a *addresses) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unproven
}

// actor is a device that speaks to a hub by hand.
type actor struct {
	t   testing.TB
	key *device.Key
	id  device.ID

	ws  *websocket.Conn
	raw net.Conn
	// What came and nobody has taken yet.
	mu       sync.Mutex
	changed  *sync.Cond
	messages []hubwire.Message
	frames   []hubwire.Frame
	err      error
	requests uint64
}

func newActor(t testing.TB) *actor {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return actorWith(t, key)
}

func actorWith(t testing.TB, key *device.Key) *actor {
	a := &actor{t: t, key: key, id: key.ID()}
	a.changed = sync.NewCond(&a.mu)
	return a
}

// dialHub opens a WebSocket and lets see the connection below it.
func dialHub(url string) (*websocket.Conn, net.Conn, *http.Response, error) {
	return dialHubFrom(nil, url)
}

// dialHubFrom connects from an address of its own; nil: any.
func dialHubFrom(from net.Addr, url string) (*websocket.Conn, net.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var raw net.Conn
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, address)
		raw = conn
		return conn, err
	}}
	defer transport.CloseIdleConnections()
	ws, response, err := websocket.Dial(ctx, url+hubwire.Path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{hubwire.Subprotocol},
	})
	if err != nil {
		return nil, nil, response, err
	}
	ws.SetReadLimit(-1)
	return ws, raw, response, nil
}

// connect proves the actor to the hub, and takes what comes from then on.
func (a *actor) connect(h *testHub, allow ...device.ID) *actor {
	a.t.Helper()
	m, err := a.tryConnect(h, allow...)
	if err != nil {
		a.t.Fatal(err)
	}
	if m.Type != hubwire.TypeWelcome {
		a.t.Fatalf("no welcome but %+v", m)
	}
	return a
}

func (a *actor) tryConnect(h *testHub, allow ...device.ID) (hubwire.Message, error) {
	ws, raw, _, err := dialHub(h.url)
	if err != nil {
		return hubwire.Message{}, err
	}
	a.ws, a.raw = ws, raw
	a.t.Cleanup(func() { ws.CloseNow() })
	challenge, err := readText(ws)
	if err != nil {
		return challenge, err
	}
	if err := writeText(ws, a.proof(challenge, allow...)); err != nil {
		return hubwire.Message{}, err
	}
	answer, err := readText(ws)
	if err == nil && answer.Type == hubwire.TypeWelcome {
		done := make(chan struct{})
		a.t.Cleanup(func() { ws.CloseNow(); <-done })
		go func() { defer close(done); a.listen(ws) }()
	}
	return answer, err
}

func (a *actor) proof(challenge hubwire.Message, allow ...device.ID) hubwire.Message {
	signature, err := a.key.Sign(hubwire.SignedBytes(challenge.Origin, challenge.Challenge))
	if err != nil {
		a.t.Fatal(err)
	}
	return hubwire.Message{Type: hubwire.TypeProof, PublicKey: a.key.PublicKey(), Signature: signature, Allow: allow}
}

func readText(ws *websocket.Conn) (hubwire.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	typ, b, err := ws.Read(ctx)
	if err != nil {
		return hubwire.Message{}, err
	}
	if typ != websocket.MessageText {
		return hubwire.Message{}, errors.New("no text")
	}
	return hubwire.ParseMessage(b)
}

func writeText(ws *websocket.Conn, m hubwire.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return ws.Write(context.Background(), websocket.MessageText, b)
}

func (a *actor) listen(ws *websocket.Conn) {
	for {
		typ, b, err := ws.Read(context.Background())
		a.mu.Lock()
		if a.ws != ws {
			a.mu.Unlock()
			return
		}
		switch {
		case err != nil:
			a.err = err
		case typ == websocket.MessageText:
			m, err := hubwire.ParseMessage(b)
			if err != nil {
				a.err = err
			}
			a.messages = append(a.messages, m)
		default:
			f, err := hubwire.ParseFrame(b)
			if err != nil {
				a.err = err
			}
			a.frames = append(a.frames, f)
		}
		stop := a.err != nil
		a.changed.Broadcast()
		a.mu.Unlock()
		if stop {
			return
		}
	}
}

// until waits for what the reading brings.
func (a *actor) until(what string, cond func() bool) {
	a.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		late = true
		a.changed.Broadcast()
	})
	defer timer.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !cond() {
		if a.err != nil || late {
			a.t.Fatalf("%s: too late %v, %v; messages %+v", what, late, a.err, a.messages)
		}
		a.changed.Wait()
	}
}

// message takes the first text message of a type.
func (a *actor) message(typ hubwire.Type) hubwire.Message {
	a.t.Helper()
	return a.messageWhere(string(typ), func(m hubwire.Message) bool { return m.Type == typ })
}

func (a *actor) messageWhere(what string, match func(hubwire.Message) bool) (found hubwire.Message) {
	a.t.Helper()
	a.until(what, func() bool {
		for i, m := range a.messages {
			if match(m) {
				found = m
				a.messages = append(a.messages[:i:i], a.messages[i+1:]...)
				return true
			}
		}
		return false
	})
	return found
}

// sees waits to be told that another device is online, or is not.
func (a *actor) sees(peer *actor, online bool) {
	a.t.Helper()
	a.messageWhere(fmt.Sprintf("presence %v", online), func(m hubwire.Message) bool {
		return m.Type == hubwire.TypePresence && *m.Peer == peer.id && m.Online == online
	})
}

// frame takes the next frame.
func (a *actor) frame() (f hubwire.Frame) {
	a.t.Helper()
	a.until("a frame", func() bool {
		if len(a.frames) == 0 {
			return false
		}
		f, a.frames = a.frames[0], a.frames[1:]
		return true
	})
	return f
}

func (a *actor) wants(kind hubwire.Kind, from *actor, stream uint64, payload string) {
	a.t.Helper()
	f := a.frame()
	if f.Kind != kind || f.Peer != from.id || f.Stream != stream || string(f.Payload) != payload {
		a.t.Fatalf("got kind %d of stream %d from %s, %q; want kind %d of stream %d, %q",
			f.Kind, f.Stream, f.Peer.Short(), f.Payload, kind, stream, payload)
	}
}

func (a *actor) wantsClose(from *actor, stream uint64, why hubwire.Reason) {
	a.t.Helper()
	a.wants(hubwire.KindClose, from, stream, string([]byte{byte(why)}))
}

func (a *actor) sends(kind hubwire.Kind, to *actor, stream uint64, payload string) {
	a.t.Helper()
	f := hubwire.Frame{Kind: kind, Peer: to.id, Stream: stream, Payload: []byte(payload)}
	if err := a.ws.Write(context.Background(), websocket.MessageBinary, f.Append(nil)); err != nil {
		a.t.Fatal(err)
	}
}

// asks sends a request and returns the answer.
func (a *actor) asks(m hubwire.Message) hubwire.Message {
	a.t.Helper()
	a.requests++
	m.ID = a.requests
	if err := writeText(a.ws, m); err != nil {
		a.t.Fatal(err)
	}
	return a.messageWhere("the answer", func(got hubwire.Message) bool { return got.ID == m.ID })
}

// settles waits until all that was sent before has been served.
func (a *actor) settles() {
	a.t.Helper()
	if m := a.asks(hubwire.Message{Type: hubwire.TypePing}); m.Type != hubwire.TypeDone {
		a.t.Fatalf("ping: %+v", m)
	}
}

// isCut waits for the end of the connection.
func (a *actor) isCut() {
	a.t.Helper()
	a.until("the end of the connection", func() bool { return a.err != nil })
}

// leaves ends the connection and forgets all that came.
func (a *actor) leaves() {
	a.mu.Lock()
	ws := a.ws
	a.ws, a.err, a.messages, a.frames = nil, nil, nil, nil
	a.mu.Unlock()
	ws.Close(websocket.StatusNormalClosure, "")
}

// again is for a new connection of the device beside the old one.
func (a *actor) again() *actor { return actorWith(a.t, a.key) }

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func writeFrame(a *actor, f hubwire.Frame) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return a.ws.Write(ctx, websocket.MessageBinary, f.Append(nil))
}
