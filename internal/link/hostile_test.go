package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// raw is a peer that speaks the protocol by hand.
type raw struct {
	*conn
	t *testing.T
}

// dialRaw connects to the phone as the agent's device and says hello.
func (c *couple) dialRaw(t *testing.T) *raw {
	t.Helper()
	r := c.dialMute(t)
	must(c.agent.exchange(t.Context(), r.conn))
	return r
}

// dialMute connects to the phone as the agent's device, and says nothing.
func (c *couple) dialMute(t *testing.T) *raw {
	t.Helper()
	return &raw{newConn(must(c.agent.secureTo(c.phone.id)(t.Context(), must(c.net.open(t.Context()))))), t}
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
	f, err := wiretest.Frame(e)
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
				if r.write(must(wiretest.Frame(wire.Envelope{Version: 1, ID: fmt.Sprint(i), Kind: wire.KindPing}))) != nil {
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

// TestWrongAnswers: a phone that answers twice, answers what was not asked, or
// answers with the wrong kind.
func TestWrongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		defer c.agent.run()()
		far := must(c.net.Accept())
		config := baseTLS(c.phone.key, func(device.ID) error { return nil })
		tc := must(c.phone.handshake(t.Context(), tls.Server(far, config)))
		r := &raw{newConn(tc), t}
		defer r.finish()
		must(c.phone.exchange(t.Context(), r.conn))
		_ = tc.SetReadDeadline(time.Time{})

		ask := func(kind wire.Kind) <-chan error {
			return asking(func() error {
				e, err := c.agent.Ask(t.Context(), c.phone.id, kind, wire.NewID(), nil, nil)
				if err == nil && e.Kind != responseTo[kind] {
					err = fmt.Errorf("got %s", e.Kind)
				}
				return err
			})
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

// TestBusy: one request more than MaxRequests is refused, the others go on.
func TestBusy(t *testing.T) {
	withLink(t, func(t *testing.T, c *couple) {
		release := make(chan struct{})
		c.phone.serve = func(ctx context.Context, req *Request) (wire.Kind, any) {
			<-release
			return wire.KindKeyListResponse, wire.KeyListResponse{}
		}
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
