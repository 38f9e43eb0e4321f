package hub

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
)

// pair connects two devices with an open stream, 1, from the agent to the phone.
func pair(t *testing.T, h *testHub) (agent, phone *actor) { return pairAt(t, h, h) }

// pairAt is pair for devices that are at one hub each.
func pairAt(t *testing.T, one, other *testHub) (agent, phone *actor) {
	t.Helper()
	agent, phone = newActor(t), newActor(t)
	agent.connect(one, phone.id)
	phone.connect(other, agent.id)
	agent.sees(phone, true)
	phone.sees(agent, true)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	phone.wants(hubwire.KindOpen, agent, 1, "")
	return agent, phone
}

// text and binary send what a test wants to.
func text(s string) func(*websocket.Conn) error {
	return func(ws *websocket.Conn) error {
		return ws.Write(context.Background(), websocket.MessageText, []byte(s))
	}
}

func binary(b []byte) func(*websocket.Conn) error {
	return func(ws *websocket.Conn) error { return ws.Write(context.Background(), websocket.MessageBinary, b) }
}

// What is no message costs its own connection, and nobody else's.
func TestMalformed(t *testing.T) {
	h := newHub(t, withLimits(Limits{ConnectBurst: 1000}))
	agent, phone := pair(t, h)
	frame := func(kind hubwire.Kind, n int) func(*websocket.Conn) error {
		return binary(hubwire.Frame{Kind: kind, Peer: agent.id, Stream: 1, Payload: make([]byte, n)}.Append(nil))
	}
	for name, send := range map[string]func(*websocket.Conn) error{
		"no JSON":           text("hello"),
		"empty text":        text(""),
		"empty frame":       binary(nil),
		"short frame":       binary(make([]byte, 40)),
		"kind 0":            frame(0, 1),
		"kind 9":            frame(9, 1),
		"no data":           frame(hubwire.KindData, 0),
		"too much data":     frame(hubwire.KindData, hubwire.MaxData+1),
		"half a token":      frame(hubwire.KindOpen, 16),
		"two reasons":       frame(hubwire.KindClose, 2),
		"too many allowed":  text(`{"type":"allow","id":1,"allow":[` + strings.Repeat(`"`+agent.id.String()+`",`, hubwire.MaxAllowed) + `"` + agent.id.String() + `"]}`),
		"no device ID":      text(`{"type":"allow","id":1,"allow":["x"]}`),
		"a short token":     text(`{"type":"rendezvous","id":1,"seconds":9,"token":"AAAA"}`),
		"long subscription": text(`{"type":"subscribe","id":1,"subscription":"` + strings.Repeat("x", hubwire.MaxSubscription) + `"}`),
		"no ID":             text(`{"type":"ping"}`),
		"deep":              text(`{"type":"subscribe","id":1,"subscription":` + strings.Repeat("[", 4000)),
	} {
		t.Run(name, func(t *testing.T) {
			attacker := newActor(t).connect(h, agent.id)
			if err := send(attacker.ws); err != nil {
				t.Fatal(err)
			}
			if m := attacker.message(hubwire.TypeError); m.Code != hubwire.CodeMalformed || m.ID != 0 {
				t.Errorf("told %+v", m)
			}
			attacker.isCut()
		})
	}
	agent.nothing()
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
}

// A message over the limit ends its connection before it is read, whether it is
// announced as long or comes in pieces.
func TestTooLong(t *testing.T) {
	h := newHub(t, withLimits(Limits{ConnectBurst: 1000}))
	agent, phone := pair(t, h)
	t.Run("at once", func(t *testing.T) {
		attacker := newActor(t).connect(h)
		_ = attacker.ws.Write(context.Background(), websocket.MessageBinary, make([]byte, 8<<20))
		attacker.isCut()
	})
	t.Run("in pieces", func(t *testing.T) {
		attacker := newActor(t).connect(h)
		w, err := attacker.ws.Writer(context.Background(), websocket.MessageText)
		for err == nil {
			_, err = w.Write(bytes.Repeat([]byte(" "), 4096))
		}
		attacker.isCut()
	})
	waitFor(t, "them to be counted", func() bool { return h.Stats().Ended["malformed"] == 2 })
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
}

// What a later version adds is not answered and harms nothing.
func TestUnknownMessages(t *testing.T) {
	h := newHub(t)
	agent := newActor(t).connect(h)
	for _, s := range []string{`{"type":"future","id":1}`, `{"type":"welcome"}`, `{"type":"ping","id":2,"more":{"x":[1]}}`} {
		if err := agent.ws.Write(context.Background(), websocket.MessageText, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if m := agent.message(hubwire.TypeDone); m.ID != 2 {
		t.Errorf("answered %+v", m)
	}
	agent.nothing()
}

// Requests are bounded; frames and pings of an ordinary device never reach it.
func TestTooManyRequests(t *testing.T) {
	h := newHub(t)
	agent := newActor(t).connect(h)
	for i := range 4 * requestBurst {
		if err := writeText(agent.ws, hubwire.Message{Type: hubwire.TypePing, ID: uint64(1000 + i)}); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for i := range 4 * requestBurst {
		m := agent.messageWhere("an answer", func(m hubwire.Message) bool { return m.ID == uint64(1000+i) })
		if m.Type == hubwire.TypeError && m.Code == hubwire.CodeBusy {
			refused++
		}
	}
	if refused < 2*requestBurst {
		t.Errorf("%d were refused", refused)
	}
}

// What waits for the store or the network is bounded, for one device and for all:
// more is refused, and nobody's reading waits for it.
func TestTooManyTasks(t *testing.T) {
	h := newHub(t)
	for range maxTasks {
		h.tasks <- struct{}{} // as if the store were slow
	}
	agent, phone := pair(t, h)
	const asked = 4 * maxTaskQueue
	for i := range uint64(asked) {
		if err := writeText(agent.ws, hubwire.Message{Type: hubwire.TypeWake, ID: 1000 + i, Peer: &phone.id}); err != nil {
			t.Fatal(err)
		}
	}
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
	refused := func() (n int) {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		for _, m := range agent.messages {
			if m.ID < 1000 || m.Code != hubwire.CodeBusy {
				t.Errorf("told %+v", m)
			}
			n++
		}
		return n
	}
	waitFor(t, "all but those that wait", func() bool { return refused() >= asked-maxTaskQueue-1 })
	for range maxTasks {
		<-h.tasks
	}
	for i := range uint64(asked) {
		agent.messageWhere("an answer", func(m hubwire.Message) bool { return m.ID == 1000+i })
	}
}

// halfOpen connects a device that never reads again from then on, and whose
// network says nothing of it.
func halfOpen(t *testing.T, h *testHub, a *actor, allow *actor) *websocket.Conn {
	t.Helper()
	ws, raw, _, err := dialHub(h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	raw.(*net.TCPConn).SetReadBuffer(4 << 10)
	challenge, err := readText(ws)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeText(ws, a.proof(challenge, allow.id)); err != nil {
		t.Fatal(err)
	}
	return ws
}

// A half-open connection is noticed, and those who know the device are told.
// Devices that are only quiet stay.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	h := newHub(t, withLimits(quick))
	agent, phone := newActor(t), newActor(t)
	phone.connect(h, agent.id)
	began := time.Now()
	halfOpen(t, h, agent, phone)
	phone.sees(agent, true)
	phone.sees(agent, false)
	if took := time.Since(began); took > quick.DeadAfter+patience/2 {
		t.Errorf("noticed after %v", took)
	}
	waitFor(t, "it to be counted", func() bool { return h.Stats().Ended["dead"] == 1 })
	phone.nothing()
}

// A connection that is lost while it is asked for a sign of life is given up at
// once, not when the answer is overdue: its place is its address's.
func TestLostWhilePinged(t *testing.T) {
	h := newHub(t, withLimits(Limits{PingAfter: time.Millisecond, DeadAfter: time.Hour, DevicesPerAddress: 2}))
	agent, phone := newActor(t), newActor(t)
	agent.connect(h, phone.id)
	ws := halfOpen(t, h, phone, agent)
	agent.sees(phone, true)
	waitFor(t, "a ping without an answer", func() bool {
		h.mu.RLock()
		defer h.mu.RUnlock()
		return h.local[phone.id].pinging.Load()
	})
	ws.CloseNow()
	agent.sees(phone, false)
	waitFor(t, "it to be counted", func() bool { return h.Stats().Ended["lost"] == 1 })
	phone.connect(h, agent.id)
}

// The defaults notice within 15 s.
func TestHalfOpenInTime(t *testing.T) {
	if l := DefaultLimits; l.DeadAfter+watchEvery >= 15*time.Second || l.DeadAfter < 2*l.PingAfter {
		t.Errorf("a dead connection is noticed after %v to %v", l.DeadAfter, l.DeadAfter+watchEvery)
	}
}

// A device that reads too slowly loses the stream that is too fast for it, and
// both ends learn why.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	h := newHub(t, withLimits(Limits{QueueBytes: 256 << 10, WriteTime: time.Minute, PingAfter: time.Minute, DeadAfter: time.Hour}))
	agent, phone := newActor(t), newActor(t)
	agent.connect(h, phone.id)
	ws := halfOpen(t, h, phone, agent)
	agent.sees(phone, true)
	agent.sends(hubwire.KindOpen, phone, 1, "")
	flood(t, agent, phone, hubwire.ReasonSlow)
	if n := h.Stats().Queued; n > 256<<10+reserve {
		t.Errorf("%d bytes wait", n)
	}
	// The phone reads again: it finds what was sent, whole, and the reason.
	for ended := false; !ended; {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		typ, b, err := ws.Read(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if typ != websocket.MessageBinary {
			continue
		}
		f, err := hubwire.ParseFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if ended = f.Kind == hubwire.KindClose; ended && f.Payload[0] != byte(hubwire.ReasonSlow) {
			t.Errorf("the phone reads reason %d", f.Payload[0])
		}
	}
	agent.nothing()
	waitFor(t, "the queue to be empty", func() bool { return h.Stats().Queued == 0 })
}

// flood sends to the peer until the hub ends the stream, for one of the reasons.
func flood(t *testing.T, from, to *actor, want ...hubwire.Reason) {
	t.Helper()
	data := string(make([]byte, hubwire.MaxData))
	for sent := 0; ; sent += len(data) {
		if sent > 64<<20 {
			t.Fatal("the hub takes everything")
		}
		from.sends(hubwire.KindData, to, 1, data)
		from.mu.Lock()
		ended := len(from.frames) > 0
		from.mu.Unlock()
		if ended {
			break
		}
	}
	f := from.frame()
	if f.Kind != hubwire.KindClose || f.Peer != to.id || f.Stream != 1 || !slices.Contains(want, hubwire.Reason(f.Payload[0])) {
		t.Fatalf("got kind %d of stream %d, %v; want its end for %v", f.Kind, f.Stream, f.Payload, want)
	}
}

// A device that reads nothing at all is cut off, and what waited is given back.
func TestDeviceThatReadsNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t, withLimits(Limits{WriteTime: 1500 * time.Millisecond, PingAfter: 500 * time.Millisecond, DeadAfter: time.Hour}))
	agent, phone := newActor(t), newActor(t)
	agent.connect(h, phone.id)
	halfOpen(t, h, phone, agent)
	agent.sees(phone, true)
	waitFor(t, "the end of the device", func() bool {
		if h.Stats().Queued == 0 { // the system's own buffers have taken it all
			agent.sends(hubwire.KindOpen, phone, 1, "")
			flood(t, agent, phone, hubwire.ReasonSlow, hubwire.ReasonUnreached)
		}
		return h.Stats().Devices == 1
	})
	agent.sees(phone, false)
	waitFor(t, "it to be counted", func() bool { s := h.Stats(); return s.Ended["slow"] == 1 && s.Queued == 0 })
	agent.nothing()
}

// Many slow devices together cannot take more than the hub's share.
func TestTotalQueue(t *testing.T) {
	h := newHub(t, withLimits(Limits{TotalQueueBytes: 128 << 10, WriteTime: time.Minute, PingAfter: time.Minute, DeadAfter: time.Hour}))
	agent, phone := newActor(t), newActor(t)
	agent.connect(h, phone.id)
	halfOpen(t, h, phone, agent)
	agent.sees(phone, true)
	waitFor(t, "the system's own buffers to be full", func() bool {
		agent.sends(hubwire.KindOpen, phone, 1, "")
		flood(t, agent, phone, hubwire.ReasonSlow)
		return h.Stats().Queued > 128<<10
	})
	if n := h.Stats().Queued; n <= 128<<10 || n > 256<<10 {
		t.Errorf("%d bytes wait", n)
	}
	one, other := pair(t, h) // who lets little wait is not stopped
	one.sends(hubwire.KindData, other, 1, string(make([]byte, hubwire.MaxData)))
	if f := other.frame(); f.Kind != hubwire.KindData || len(f.Payload) != hubwire.MaxData {
		t.Errorf("got kind %d with %d bytes", f.Kind, len(f.Payload))
	}
}

// A message that never ends, piece by piece, is no sign of life.
func TestTrickle(t *testing.T) {
	t.Parallel()
	h := newHub(t, withLimits(quick))
	attacker := newActor(t).connect(h)
	w, err := attacker.ws.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); err == nil; <-tick.C {
		if time.Since(began) > patience {
			t.Fatal("the connection goes on")
		}
		_, err = w.Write(bytes.Repeat([]byte(" "), 600)) // the library sends when it has a few
	}
	waitFor(t, "it to be counted", func() bool { return h.Stats().Ended["malformed"] == 1 })
}

// Close tells the devices that it is the hub that ends.
func TestClose(t *testing.T) {
	h := newHub(t)
	agent, _ := pair(t, h)
	h.end()
	if m := agent.message(hubwire.TypeError); m.Code != hubwire.CodeClosing || m.ID != 0 {
		t.Errorf("told %+v", m)
	}
	if s := h.Stats(); s.Devices != 0 || s.Queued != 0 || s.Ended["closing"] != 2 {
		t.Errorf("left behind: %+v", s)
	}
}

// The log names devices by their short IDs and never quotes what they say.
func TestLog(t *testing.T) {
	h := newHub(t)
	agent, phone := pair(t, h)
	agent.sends(hubwire.KindData, phone, 1, "PAYLOAD")
	phone.wants(hubwire.KindData, agent, 1, "PAYLOAD")
	agent.asks(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: []byte(`{"endpoint":"https://ENDPOINT.example"}`)})
	agent.leaves()
	waitFor(t, "the log", func() bool { return strings.Contains(h.log.String(), fmt.Sprintf("device=%s", agent.id.Short())) })
	for _, secret := range []string{"PAYLOAD", "ENDPOINT", agent.id.String(), phone.id.String()} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}
