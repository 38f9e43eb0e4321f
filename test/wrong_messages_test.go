package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// newDevice makes a device of the test's own.
func newDevice(t testing.TB) (*device.Key, *device.Trust) {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, device.NewTrust(new(testkit.Document))
}

// wrongComputer is a computer of the test's own on a real link to the real
// phone. It is paired, and asks what an honest one would not.
type wrongComputer struct {
	*link.Node
	config link.Config
	t      testing.TB
	id     device.ID
	phone  device.ID
	up     chan struct{}
}

// connect makes a new end of the computer's link, in place of one that was closed.
func (c *wrongComputer) connect() {
	c.Node = link.New(c.config)
	ended := make(chan struct{})
	go func(n *link.Node) { defer close(ended); _ = n.Run(context.Background()) }(c.Node)
	c.t.Cleanup(func() { c.Close(); <-ended })
}

func pairWrongComputer(w *world) *wrongComputer {
	w.Helper()
	key, trust := newDevice(w)
	c := &wrongComputer{t: w, id: key.ID(), up: make(chan struct{}, 100)}
	c.config = link.Config{Key: key, Trust: trust, Name: "wrong computer", Handler: linkEvents{c.up}, Routes: []link.Route{lan.NewDialer(false, nil)}}
	c.connect()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	go func(n *link.Node) { _ = n.Serve(context.Background(), l) }(c.Node) // until the node is closed
	offer := device.NewOffer(device.NewInvitation(c.id, "wrong computer", []string{lan.Route(l.Addr().String())}, ""), time.Now())
	c.Offer(offer)
	w.phone.runInput(offer.Invitation().URL()+"\n", "phone", "pair", "-")
	c.linked()
	peers, err := trust.Peers()
	if err != nil || len(peers) != 1 {
		w.Fatalf("paired with %v, %v", peers, err)
	}
	c.phone = peers[0].ID
	return c
}

// linked waits for the next link to the phone.
func (c *wrongComputer) linked() {
	c.t.Helper()
	select {
	case <-c.up:
	case <-time.After(patience):
		c.t.Fatal("no link to the phone")
	}
}

// asks sends a request as it is and returns the phone's answer.
func (c *wrongComputer) asks(envelopeID string, r wire.RemoteSignRequest) wire.SignResponse {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := c.Ask(ctx, c.phone, wire.KindSignRequest, envelopeID, r, nil)
	if err != nil {
		c.t.Fatalf("the phone's answer: %v", err)
	}
	var answer wire.SignResponse
	if err := wire.DecodeBody(e, &answer); err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// request is what an honest computer asks.
func (c *wrongComputer) request(key ssh.PublicKey, window time.Duration) wire.RemoteSignRequest {
	return wire.RemoteSignRequest{
		Asking:       wire.NewAsking(c.id.String(), "wrong computer", time.Now(), window),
		KeyAlgorithm: key.Type(), PublicKeyBlob: key.Marshal(), Origin: wire.Origin, DataToSign: []byte("data of a test"),
		Context: wire.Context{ContextQuality: wire.QualityUnknown},
	}
}

func (i identity) key(t testing.TB) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(i.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// attacker: a paired computer that repeats a request to get a second signature,
// or that asks outside the window or in another's name.
func TestPhoneRefusesReplaysAndWrongRequests(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.startPhone()
	c := pairWrongComputer(w)
	key := w.identity("ssh-ed25519").key(t)
	first := c.request(key, time.Minute)
	signed := c.asks(first.RequestID, first)
	var signature ssh.Signature
	if err := ssh.Unmarshal(signed.Signature, &signature); err != nil || key.Verify(first.DataToSign, &signature) != nil {
		t.Fatalf("the honest request: %+v, %v", signed, err)
	}
	for _, wrong := range []struct {
		name   string
		change func(r *wire.RemoteSignRequest)
		code   wire.Code
	}{
		{"the same again", func(r *wire.RemoteSignRequest) { *r = first }, wire.CodeReplayDetected},
		{"its request ID over other bytes", func(r *wire.RemoteSignRequest) { r.RequestID = first.RequestID }, wire.CodeReplayDetected},
		{"its nonce", func(r *wire.RemoteSignRequest) { r.Nonce = first.Nonce }, wire.CodeReplayDetected},
		{"another computer's name", func(r *wire.RemoteSignRequest) { r.SourceDeviceID = c.phone.String() }, wire.CodePairingInvalid},
		{"a window that has closed", func(r *wire.RemoteSignRequest) {
			r.IssuedAtMilliseconds -= 61_000
			r.ExpiresAtMilliseconds -= 61_000
		}, wire.CodeRequestExpired},
		{"a window that opens later", func(r *wire.RemoteSignRequest) {
			r.IssuedAtMilliseconds += 61_000
			r.ExpiresAtMilliseconds += 61_000
		}, wire.CodeRequestExpired},
		{"a key of nobody's", func(r *wire.RemoteSignRequest) { r.PublicKeyBlob = append(key.Marshal(), 0) }, wire.CodeKeyNotFound},
	} {
		r := c.request(key, time.Minute)
		wrong.change(&r)
		if got := c.asks(r.RequestID, r); got.Error == nil || got.Error.Code != wrong.code {
			t.Errorf("%s: %+v, want %s", wrong.name, got, wrong.code)
		}
	}
	if got := c.asks(wire.NewID(), c.request(key, time.Minute)); got.Error == nil || got.Error.Code != wire.CodeMalformedRequest {
		t.Errorf("another envelope's ID: %+v", got)
	}

	// After a reconnect the same request is no replay: its answer may have been
	// lost. It is the same answer, and nobody is asked again.
	c.Close()
	c.connect()
	c.linked()
	if again := c.asks(first.RequestID, first); !bytes.Equal(again.Signature, signed.Signature) {
		t.Errorf("after a reconnect: %+v", again)
	}
	if n := w.approvals(); n != 1 {
		t.Errorf("the phone approved %d signatures, want 1", n)
	}
}

// wrongPhone is a phone of the test's own that the real agent is paired with.
// It speaks the protocol by hand.
type wrongPhone struct {
	net.Conn
	t   testing.TB
	key ssh.Signer
}

func pairWrongPhone(w *world) *wrongPhone {
	w.Helper()
	key, trust := newDevice(w)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { l.Close() })
	p := &wrongPhone{t: w, key: testkit.NewKey(w)}
	node := link.New(link.Config{Key: key, Trust: trust, Name: "wrong phone", Routes: []link.Route{lan.NewDialer(false, nil)}})
	w.invite(func(invitation string) {
		inv, err := device.ParseInvitation(invitation)
		if err == nil {
			_, err = node.Pair(deadline(w), inv, []string{lan.Route(l.Addr().String())})
		}
		if err != nil {
			w.Fatal(err)
		}
		node.Close()
		p.accept(l, key)
	})
	p.next() // the key list
	return p
}

// accept takes the agent's link.
func (p *wrongPhone) accept(l net.Listener, key *device.Key) {
	p.t.Helper()
	raw, err := l.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.Conn = tls.Server(raw, &tls.Config{
		Certificates: []tls.Certificate{key.Certificate()}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"vmux/1"},
	})
	p.t.Cleanup(func() { raw.Close() })
	p.sends(wire.NewID(), wire.KindHello, wire.Hello{
		ProtocolVersion: wire.Version, ProgramVersion: "0", DeviceName: "wrong phone", ClockMilliseconds: time.Now().UnixMilli(),
	})
	if e := answer(p.t, p); e.Kind != wire.KindHello {
		p.t.Fatalf("the agent begins with %s", e.Kind)
	}
}

func (p *wrongPhone) sends(id string, kind wire.Kind, body any) {
	p.t.Helper()
	e, err := wiretest.Envelope(id, kind, body)
	if err != nil {
		p.t.Fatal(err)
	}
	frame, err := wiretest.Frame(e)
	if err == nil {
		_, err = p.Write(frame)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// next answers pings and returns what else the agent sends. Keys are listed.
func (p *wrongPhone) next() wire.Envelope {
	p.t.Helper()
	for {
		e := answer(p.t, p)
		switch e.Kind {
		case wire.KindPing:
			p.sends(e.ID, wire.KindPong, nil)
			continue
		case wire.KindKeyListRequest:
			public := p.key.PublicKey()
			p.sends(e.ID, wire.KindKeyListResponse, wire.KeyListResponse{Keys: []wire.RemoteSignerPublicKey{{
				Algorithm: public.Type(), PublicKeyBlob: public.Marshal(), Comment: "mine", ProviderKind: wire.ProviderUnknown,
			}}})
		}
		return e
	}
}

// asked returns the next request of the agent's.
func (p *wrongPhone) asked() wire.RemoteSignRequest {
	p.t.Helper()
	for {
		e := p.next()
		if e.Kind != wire.KindSignRequest {
			continue
		}
		var r wire.RemoteSignRequest
		if err := wire.DecodeBody(e, &r); err != nil {
			p.t.Fatal(err)
		}
		p.sends(r.RequestID, wire.KindReceived, wire.Received{RequestID: r.RequestID})
		return r
	}
}

// signs answers a request honestly.
func (p *wrongPhone) signs(r wire.RemoteSignRequest) wire.SignResponse {
	p.t.Helper()
	signature, err := p.key.Sign(rand.Reader, r.DataToSign)
	if err != nil {
		p.t.Fatal(err)
	}
	return wire.SignResponse{RequestID: r.RequestID, Signature: ssh.Marshal(signature)}
}

func (p *wrongPhone) denies(r wire.RemoteSignRequest) wire.SignResponse {
	return wire.SignResponse{RequestID: r.RequestID, Error: wire.NewError(wire.CodeUserDenied)}
}

// client is an SSH client's connection to the agent's socket.
func (w *world) client() net.Conn {
	w.Helper()
	conn, err := net.Dial("unix", w.computer.socket())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	return conn
}

// requests has a client ask for a signature over text, which must verify.
func (w *world) requests(key ssh.PublicKey, text string) <-chan error {
	w.Helper()
	client := sshclient.NewClient(w.client())
	done := make(chan error, 1)
	go func() {
		signature, err := client.Sign(key, []byte(text))
		if err == nil {
			err = key.Verify([]byte(text), signature)
		}
		done <- err
	}()
	return done
}

func (w *world) wait(done <-chan error) error {
	w.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * patience): // a window may be longer than patience
		w.Fatal("the agent does not answer its client")
		return nil
	}
}

func (w *world) lastFailure() (code, sentence string) {
	w.Helper()
	var s struct {
		LastFailure struct{ Code, Sentence string } `json:"lastFailure"`
	}
	if err := json.Unmarshal([]byte(w.computer.run("status", "--json")), &s); err != nil {
		w.Fatal(err)
	}
	return s.LastFailure.Code, s.LastFailure.Sentence
}

// attacker: a phone, or whoever has got its device key, that answers wrongly.
// The agent's clients get the right signature or none, and nothing else is
// disturbed: all of this happens on one link.
func TestAgentRefusesWrongAnswers(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.startAgent("--lan=false")
	p := pairWrongPhone(w)
	key := p.key.PublicKey()
	waitFor(t, "the key", func() bool { return strings.Contains(w.computer.run("status", "--json"), "SHA256:") })

	t.Run("an answer for another request", func(t *testing.T) {
		one := w.requests(key, "one")
		forOne := p.asked()
		two := w.requests(key, "two")
		forTwo := p.asked()
		p.sends(forOne.RequestID, wire.KindSignResponse, p.signs(forTwo))
		if err := w.wait(one); err == nil {
			t.Error("signed")
		}
		if code, sentence := w.lastFailure(); code != string(wire.CodeMalformedRequest) || !strings.Contains(sentence, "another request") {
			t.Errorf("status: %s, %q", code, sentence)
		}
		p.sends(forTwo.RequestID, wire.KindSignResponse, p.signs(forTwo))
		if err := w.wait(two); err != nil {
			t.Errorf("the other request: %v", err)
		}
	})
	t.Run("another request's signature", func(t *testing.T) {
		one := w.requests(key, "one")
		forOne := p.asked()
		wrong := forOne
		wrong.DataToSign = []byte("two")
		p.sends(forOne.RequestID, wire.KindSignResponse, p.signs(wrong))
		if err := w.wait(one); err == nil {
			t.Error("signed")
		}
		if _, sentence := w.lastFailure(); !strings.Contains(sentence, "does not verify") {
			t.Errorf("status: %q", sentence)
		}
	})
	t.Run("an answer to nobody's request", func(t *testing.T) {
		one := w.requests(key, "one")
		forOne := p.asked()
		p.sends(wire.NewID(), wire.KindSignResponse, p.denies(forOne))
		p.sends(forOne.RequestID, wire.KindSignResponse, p.signs(forOne))
		if err := w.wait(one); err != nil {
			t.Error(err)
		}
	})
	t.Run("an answer of another kind", func(t *testing.T) {
		one := w.requests(key, "one")
		forOne := p.asked()
		p.sends(forOne.RequestID, wire.KindKeyListResponse, wire.KeyListResponse{})
		if err := w.wait(one); err == nil {
			t.Error("signed")
		}
	})
	t.Run("a second answer", func(t *testing.T) {
		one := w.requests(key, "one")
		forOne := p.asked()
		p.sends(forOne.RequestID, wire.KindSignResponse, p.denies(forOne))
		p.sends(forOne.RequestID, wire.KindSignResponse, p.signs(forOne))
		if err := w.wait(one); err == nil {
			t.Error("signed after a denial")
		}
		if code, _ := w.lastFailure(); code != string(wire.CodeUserDenied) {
			t.Errorf("status: %s", code)
		}
	})
	if log := w.agent.log(); strings.Count(log, "phone disconnected") != 0 {
		t.Errorf("the link was lost")
	}
	w.waitConnected()
}

// Nobody answers: the computer and the phone end it with the same word.
func TestExpiredOnBothSides(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t, "--approval-timeout", "3s")
	signed := w.requests(w.identity("ssh-ed25519").key(t), "data")
	began := time.Now()
	if err := w.wait(signed); err == nil {
		t.Error("signed though nobody approved")
	}
	if took := time.Since(began); took < 2*time.Second || took > wire.Window/2 { // on a busy machine the end is late, but is not that of another window
		t.Errorf("failed after %v, want the window of 3 s", took)
	}
	if code, sentence := w.lastFailure(); code != string(wire.CodeRequestExpired) || sentence != "No answer within 3 s." {
		t.Errorf("the computer says %s, %q", code, sentence)
	}
	person.waitCount("Expired: the time to answer is over.", 1, "")
	// The phone keeps it once it has said so, and nothing here waits for that.
	waitFor(t, "the phone's log to have the expired request", func() bool { return w.sheets("expired") == 1 })
	if log := w.phone.run("phone", "log", "--json"); !strings.Contains(log, `"`+string(wire.CodeRequestExpired)+`"`) {
		t.Errorf("the phone's log does not name the code:\n%s", log)
	}
}
