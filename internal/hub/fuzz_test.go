package hub

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// Whatever a device sends, the hub goes on serving the others, and what it
// passes on to another device is a frame of a stream that this one has let in.
func FuzzConnection(f *testing.F) {
	h := newHub(f, withLimits(Limits{ConnectBurst: 1 << 30}))
	victim := newActor(f).connect(h)
	var peer device.ID = victim.id
	open := hubwire.Frame{Kind: hubwire.KindOpen, Peer: peer, Stream: 1}
	f.Add([]byte(`{"type":"allow","id":1,"allow":["`+peer.String()+`"]}`), true, open.Append(nil), false)
	f.Add([]byte(`{"type":"rendezvous","id":1,"seconds":60,"token":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`), true, []byte(`{"type":"ping","id":2}`), true)
	f.Add([]byte(`{"type":"subscribe","id":1,"subscription":{}}`), true, []byte(`{"type":"wake","id":2,"peer":"`+peer.String()+`"}`), true)
	f.Add(hubwire.Frame{Kind: hubwire.KindData, Peer: peer, Stream: 1, Payload: []byte("x")}.Append(nil), false,
		hubwire.Frame{Kind: hubwire.KindClose, Peer: peer, Stream: 1, Payload: []byte{3}}.Append(nil), false)
	f.Fuzz(func(t *testing.T, first []byte, firstText bool, second []byte, secondText bool) {
		attacker := newActor(t)
		if _, err := attacker.tryConnect(h, peer); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, m := range []struct {
			b    []byte
			text bool
		}{{first, firstText}, {second, secondText}} {
			typ := websocket.MessageBinary
			if m.text {
				typ = websocket.MessageText
			}
			_ = attacker.ws.Write(ctx, typ, m.b) // the hub may have ended it
		}
		attacker.ws.Close(websocket.StatusNormalClosure, "")
		victim.t = t
		victim.asks(hubwire.Message{Type: hubwire.TypePing}) // done, or busy: both come after what was sent before
		victim.mu.Lock()
		defer victim.mu.Unlock()
		if len(victim.frames) > 0 || len(victim.messages) > 0 {
			t.Fatalf("the victim got %d frames, %+v", len(victim.frames), victim.messages)
		}
	})
}

// Whatever other hubs say is taken or left; it ends nothing.
func FuzzHearFrame(f *testing.F) {
	h := newHub(f)
	c := newActor(f).connect(h)
	message := append([]byte{byte(opFrame)}, make([]byte, len(hubID{}))...)
	message = append(message, c.id[:]...)
	for _, frame := range []hubwire.Frame{
		{Kind: hubwire.KindOpen, Peer: c.id, Stream: 1}, {Kind: hubwire.KindOpen, Peer: c.id, Stream: 1, Payload: make([]byte, hubwire.TokenSize)},
		{Kind: hubwire.KindData, Peer: c.id, Stream: 1, Payload: []byte("x")}, {Kind: hubwire.KindClose, Peer: c.id, Stream: 1, Payload: []byte{9}},
	} {
		f.Add(frame.Append(message[:prefixSize:prefixSize]))
	}
	f.Fuzz(func(t *testing.T, b []byte) { h.hearFrame(b) })
}
