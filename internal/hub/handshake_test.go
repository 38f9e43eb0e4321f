package hub

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
)

// Whoever cannot sign for the device, here and now and for this hub, is told so
// and gets no further.
func TestWrongProofs(t *testing.T) {
	h := newHub(t, withLimits(Limits{ConnectBurst: 1000}))
	victim, attacker := newActor(t), newActor(t)
	old := challengeOf(t, h)
	replay := victim.proof(old)
	changed := func(change func(*hubwire.Message)) func(hubwire.Message) hubwire.Message {
		return func(challenge hubwire.Message) hubwire.Message {
			m := victim.proof(challenge)
			change(&m)
			return m
		}
	}
	for _, test := range []struct {
		name  string
		proof func(challenge hubwire.Message) hubwire.Message
		code  hubwire.Code
	}{
		{"another device's signature", func(c hubwire.Message) hubwire.Message {
			m := attacker.proof(c)
			m.PublicKey = victim.key.PublicKey()
			return m
		}, hubwire.CodeBadProof},
		// An evil hub passes on the challenge of this one.
		{"a proof to another hub", func(c hubwire.Message) hubwire.Message {
			c.Origin = "https://evilhub.example"
			return victim.proof(c)
		}, hubwire.CodeBadProof},
		{"a proof of another connection", func(hubwire.Message) hubwire.Message { return replay }, hubwire.CodeBadProof},
		{"no signature", changed(func(m *hubwire.Message) { m.Signature = nil }), hubwire.CodeBadProof},
		{"no key", changed(func(m *hubwire.Message) { m.PublicKey = nil }), hubwire.CodeBadProof},
		// Which would give one key many IDs.
		{"a key with more behind it", changed(func(m *hubwire.Message) { m.PublicKey = append(m.PublicKey, 0) }), hubwire.CodeBadProof},
		{"a long key", changed(func(m *hubwire.Message) { m.PublicKey = make([]byte, 32<<10) }), hubwire.CodeBadProof},
		{"an Ed25519 key", ed25519Proof, hubwire.CodeBadProof},
		{"a P-384 key", p384Proof, hubwire.CodeBadProof},
		{"something else", func(hubwire.Message) hubwire.Message { return hubwire.Message{Type: hubwire.TypeAllow} }, hubwire.CodeMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			ws, challenge := unproven(t, h)
			if err := writeText(ws, test.proof(challenge)); err != nil {
				t.Fatal(err)
			}
			m, err := readText(ws)
			if err != nil || m.Type != hubwire.TypeError || m.Code != test.code || m.ID != 0 {
				t.Fatalf("got %+v, %v; want the error %s", m, err, test.code)
			}
			if _, err := readText(ws); err == nil {
				t.Fatal("the connection goes on")
			}
		})
	}
	waitFor(t, "no device", func() bool { s := h.Stats(); return s.Devices == 0 && s.Unproven == 0 })
	victim.connect(h) // the hub is as before
}

// unproven opens a connection up to the challenge.
func unproven(t testing.TB, h *testHub) (*websocket.Conn, hubwire.Message) {
	t.Helper()
	ws, _, _, err := dialHub(h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	challenge, err := readText(ws)
	if err != nil || challenge.Type != hubwire.TypeChallenge || len(challenge.Challenge) != hubwire.ChallengeSize || challenge.Origin != h.Origin() {
		t.Fatalf("no challenge: %+v, %v", challenge, err)
	}
	return ws, challenge
}

func challengeOf(t testing.TB, h *testHub) hubwire.Message {
	ws, challenge := unproven(t, h)
	ws.CloseNow()
	return challenge
}

func ed25519Proof(c hubwire.Message) hubwire.Message {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	spki, _ := x509.MarshalPKIXPublicKey(public)
	return hubwire.Message{Type: hubwire.TypeProof, PublicKey: spki, Signature: ed25519.Sign(private, hubwire.SignedBytes(c.Origin, c.Challenge))}
}

func p384Proof(c hubwire.Message) hubwire.Message {
	private, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	spki, _ := x509.MarshalPKIXPublicKey(private.Public())
	digest := sha256.Sum256(hubwire.SignedBytes(c.Origin, c.Challenge))
	signature, _ := ecdsa.SignASN1(rand.Reader, private, digest[:])
	return hubwire.Message{Type: hubwire.TypeProof, PublicKey: spki, Signature: signature}
}

// What is no proof at all costs its own connection.
func TestMalformedProofs(t *testing.T) {
	h := newHub(t, withLimits(Limits{ConnectBurst: 1000}))
	for name, send := range map[string]func(ws *websocket.Conn) error{
		"no JSON":    text("{"),
		"nothing":    text(""),
		"wrong type": text(`{"type":7}`),
		"deep JSON":  text(strings.Repeat(`{"type":`, 8000)),
		"a frame":    binary(hubwire.Frame{Kind: hubwire.KindOpen}.Append(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			ws, _ := unproven(t, h)
			if err := send(ws); err != nil {
				t.Fatal(err)
			}
			if m, err := readText(ws); err != nil || m.Code != hubwire.CodeMalformed {
				t.Fatalf("got %+v, %v", m, err)
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		ws, _ := unproven(t, h)
		// The hub may end the connection before all is written.
		_ = ws.Write(context.Background(), websocket.MessageText, make([]byte, hubwire.MaxMessage+2))
		if _, err := readText(ws); err == nil {
			t.Fatal("the connection goes on")
		}
	})
	newActor(t).connect(h)
}

// A connection without a proof is closed soon, at whatever step.
func TestSilentBeforeProof(t *testing.T) {
	h := newHub(t, withLimits(quick))
	ws, _ := unproven(t, h)
	began := time.Now()
	if _, err := readText(ws); err == nil || time.Since(began) > patience/2 { // else it was the reader that gave up
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	waitFor(t, "the place to be free", func() bool { return h.Stats().Unproven == 0 })
}

// What is not the hub's WebSocket is refused before it costs anything.
func TestOtherRequests(t *testing.T) {
	h := newHub(t)
	get := func(path string, header map[string]string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, h.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			r.Header.Set(name, value)
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	upgrade := func(more ...string) map[string]string {
		m := map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": hubwire.Subprotocol,
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for name, test := range map[string]struct {
		path   string
		header map[string]string
		status int
	}{
		"health":               {"/healthz", nil, http.StatusOK},
		"no app":               {"/", nil, http.StatusNotFound},
		"no WebSocket":         {hubwire.Path, nil, http.StatusUpgradeRequired},
		"another version":      {hubwire.Path, upgrade("Sec-WebSocket-Version", "8"), http.StatusBadRequest},
		"another site's page":  {hubwire.Path, upgrade("Origin", "https://evil.example"), http.StatusForbidden},
		"a page of this hub":   {hubwire.Path, upgrade("Origin", h.url), http.StatusSwitchingProtocols},
		"not a page":           {hubwire.Path, upgrade(), http.StatusSwitchingProtocols},
		"a page of no origin":  {hubwire.Path, upgrade("Origin", "null"), http.StatusForbidden},
		"this host, not https": {hubwire.Path, upgrade("Origin", strings.Replace(h.url, "http:", "https:", 1)), http.StatusForbidden},
	} {
		if got := get(test.path, test.header); got.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", name, got.StatusCode, test.status)
		}
	}
	// A page that was opened at another address learns of the hub's own.
	if own := get("/healthz", nil).Header.Get("Vmux-Hub"); own != h.Origin() {
		t.Errorf("the hub is at %q, and says %q", h.Origin(), own)
	}
}

// A client of another protocol learns that it is one.
func TestSubprotocol(t *testing.T) {
	h := newHub(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, h.url+hubwire.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if m, err := readText(ws); err != nil || m.Code != hubwire.CodeMalformed {
		t.Fatalf("got %+v, %v", m, err)
	}
}

// A flood of connections from one address takes the places of that address, and
// is refused with the time to wait. Whoever is there stays there.
func TestFloodOfConnections(t *testing.T) {
	h := newHub(t, withLimits(Limits{ConnectBurst: 20, ConnectEvery: time.Minute}))
	agent, phone := pair(t, h)
	refused := 0
	for range 200 {
		ws, _, response, err := dialHub(h.url)
		if err == nil {
			ws.CloseNow()
			continue
		}
		if response == nil || response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" {
			t.Fatalf("refused with %v, %v", response, err)
		}
		refused++
	}
	if refused < 180 {
		t.Errorf("%d of 200 connections were refused", refused)
	}
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
}

// So does a flood of connections that are opened and left waiting.
func TestFloodWithoutProof(t *testing.T) {
	h := newHub(t, withLimits(Limits{UnprovenPerAddress: 8, ConnectBurst: 1000}))
	for range 8 {
		unproven(t, h)
	}
	if _, _, response, err := dialHub(h.url); err == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("one more: %v, %v", response, err)
	}
	if s := h.Stats(); s.Unproven != 8 {
		t.Errorf("%d without proof", s.Unproven)
	}
}

// Connections without proof, of many addresses together, leave room for a bounded
// number, and one that goes makes room.
func TestUnprovenOfManyAddresses(t *testing.T) {
	h := newHub(t, withLimits(Limits{Unproven: 4}))
	agent, phone := pair(t, h)
	var waiting []*websocket.Conn
	for range 4 {
		ws, _ := unproven(t, h)
		waiting = append(waiting, ws)
	}
	if _, _, response, err := dialHub(h.url); err == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("one more: %v, %v", response, err)
	}
	agent.sends(hubwire.KindData, phone, 1, "still here")
	phone.wants(hubwire.KindData, agent, 1, "still here")
	waiting[0].CloseNow()
	waitFor(t, "a place", func() bool { return h.Stats().Unproven < 4 })
	newActor(t).connect(h)
}

// The attacker takes all places for unproven connections from sixteen addresses, as
// many as each may have, and takes every place that becomes free. A device of
// another address still connects at once: the attacker's oldest connection makes
// room.
func TestUnprovenOfSixteenAddresses(t *testing.T) {
	const addresses, each = 16, 4
	h := newHub(t, withLimits(Limits{Unproven: addresses * each, UnprovenPerAddress: each, ConnectBurst: 1000}))
	dial := func(n int) (*websocket.Conn, *http.Response, error) {
		ws, _, response, err := dialHubFrom(&net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n))}, h.url)
		if err == nil {
			t.Cleanup(func() { ws.CloseNow() })
		}
		return ws, response, err
	}
	var first *websocket.Conn
	for i := range addresses * each {
		ws, _, err := dial(1 + i/each)
		if err != nil {
			t.Fatal(i, err)
		}
		if _, err := readText(ws); err != nil {
			t.Fatal(i, err)
		}
		if first == nil {
			first = ws
		}
	}
	for range 3 {
		newActor(t).connect(h)
		if s := h.Stats(); s.Devices == 0 || s.Unproven > addresses*each {
			t.Errorf("%+v", s)
		}
		for n := range addresses { // and whatever has become free is the attacker's again
			_, _, _ = dial(1 + n)
		}
	}
	if _, err := readText(first); err == nil {
		t.Error("the attacker's oldest connection was told something")
	}
	// A place of the last device may have become free after the attacker's last try.
	for n := 0; ; n++ {
		_, response, err := dial(1)
		if err != nil && response != nil && response.StatusCode >= 400 {
			break
		}
		if n == each {
			t.Fatalf("one more of the attacker's: %v", err)
		}
	}
}

// With a thousand addresses, one connection each, a device still gets in.
func TestUnprovenOfManyAddressesMakeRoom(t *testing.T) {
	a := newAddresses(Limits{Unproven: 1000, UnprovenPerAddress: 64, ConnectBurst: 10, ConnectEvery: time.Second, DevicesPerAddress: 1})
	cut := map[int]bool{}
	for i := range 1000 {
		from := addressOf(&http.Request{RemoteAddr: fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255)})
		p, _, err := a.enter(from, time.Duration(i))
		if err != nil {
			t.Fatal(i, err)
		}
		a.held(p, func() { cut[i] = true })
	}
	p, _, err := a.enter(addressOf(&http.Request{RemoteAddr: "192.0.2.1:1"}), time.Second)
	if err != nil || len(cut) != 1 || !cut[0] || a.waiting() != 1000 {
		t.Errorf("%v; cut %v, %d wait", err, cut, a.waiting())
	}
	if _, _, err := a.enter(p.from, time.Second); err == nil {
		t.Error("who would have more than anybody takes another's place")
	}
	a.leave(p)
	if a.waiting() != 999 {
		t.Errorf("%d wait", a.waiting())
	}
}

// One address cannot fill the hub with devices; when one of them leaves there is
// a place again.
func TestDevicesOfOneAddress(t *testing.T) {
	h := newHub(t, withLimits(Limits{DevicesPerAddress: 3}))
	first := newActor(t).connect(h)
	newActor(t).connect(h)
	newActor(t).connect(h)
	if _, _, response, err := dialHub(h.url); err == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("one more device: %v, %v", response, err)
	}
	first.leaves()
	waitFor(t, "a place", func() bool {
		ws, _, _, err := dialHub(h.url)
		if err == nil {
			ws.CloseNow()
		}
		return err == nil
	})
}

// A hub that is full says so.
func TestFullHub(t *testing.T) {
	h := newHub(t, withLimits(Limits{Devices: 1}))
	newActor(t).connect(h)
	if _, _, response, err := dialHub(h.url); err == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("one more device: %v, %v", response, err)
	}
}

// One customer is one address, whatever of it they use.
func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5":              "192.0.2.1",
		"192.0.2.1":                "192.0.2.1",
		"[::ffff:192.0.2.1]:5":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::",
		"[2001:db8:1:2::1]:6":      "2001:db8:1:2::",
		"[fe80::1%eth0]:5":         "fe80::",
		"nonsense":                 "invalid IP",
	} {
		if got := addressOf(&http.Request{RemoteAddr: remote}).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// The table of addresses does not grow without end.
func TestAddressesAreForgotten(t *testing.T) {
	a := newAddresses(DefaultLimits)
	for i := range maxAddresses + 100 {
		from := addressOf(&http.Request{RemoteAddr: fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)})
		p, _, err := a.enter(from, 0)
		if err != nil { // none of them is rested, but none has a connection either
			t.Fatal(i, err)
		}
		a.leave(p)
	}
	if n := len(a.known); n > maxAddresses {
		t.Errorf("%d addresses are known", n)
	}
	a.tidy(time.Hour)
	if n := len(a.known); n != 0 {
		t.Errorf("%d addresses are known after an hour", n)
	}
}

// A client that sends before it may is no WebSocket client.
func TestEarlyData(t *testing.T) {
	h := newHub(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nand more", hubwire.Path)
	b := make([]byte, 4096)
	for err == nil {
		_, err = conn.Read(b)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("the connection goes on")
	}
	waitFor(t, "the place to be free", func() bool { return h.Stats().Unproven == 0 })
}
