package pairing

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

// twin is the links and the hub in memory.
type twin struct {
	mu        sync.Mutex
	connected bool
	asked     chan struct{} // closed when it is first asked whether a phone is connected
	offer     *device.Offer
}

func (w *twin) Connected(device.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked != nil {
		close(w.asked)
		w.asked = nil
	}
	return w.connected
}

func (w *twin) Offer(o *device.Offer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offer = o
}

func (w *twin) Serve(ctx context.Context, l net.Listener) error {
	<-ctx.Done()
	return l.Close()
}

func (w *twin) Listener() net.Listener { return noListener{} }

func (w *twin) Rendezvous(ctx context.Context, _ [32]byte, _ time.Duration) (func(), error) {
	return func() {}, nil
}

func (w *twin) Status() relay.Status { return relay.Status{} }

type noListener struct{ net.Listener }

func (noListener) Close() error { return nil }

// inBubble invites by the hub alone, and runs then what happens meanwhile.
func inBubble(t *testing.T, meanwhile func(p *Pairing, w *twin)) (peer device.Peer, took time.Duration, err error) {
	synctest.Test(t, func(t *testing.T) {
		w := &twin{asked: make(chan struct{})}
		p := New(Config{
			Name: "computer", Hosts: []string{"192.0.2.1:1"}, HubURL: "https://hub.example", Hub: w, Links: w,
			Log: slog.New(slog.DiscardHandler),
		})
		began := time.Now()
		peer, err = p.Invite(t.Context(), nil, func(i control.Invitation) error {
			if i.Hub != "https://hub.example" || i.HubError != "" || len(i.Routes) != 1 {
				t.Errorf("invitation %+v", i)
			}
			go meanwhile(p, w)
			return nil
		})
		took = time.Since(began)
		if w.offer != nil {
			t.Error("the offer is open after the invitation")
		}
	})
	return peer, took, err
}

// The phone that redeems the invitation is returned once its link is up: the end of
// listening would cut it.
func TestInviteWaitsForTheLink(t *testing.T) {
	phone := device.Peer{ID: device.ID{1}, Name: wire.Clean("phone")}
	peer, took, err := inBubble(t, func(p *Pairing, w *twin) {
		asked := w.asked
		p.Paired(phone)
		p.Paired(device.Peer{ID: device.ID{2}, Name: wire.Clean("attacker")})
		<-asked
		w.mu.Lock()
		w.connected = true
		w.mu.Unlock()
		p.Linked()
	})
	if err != nil || peer.ID != phone.ID || took != 0 {
		t.Errorf("%+v after %s, %v", peer, took, err)
	}
}

// A phone that pairs and does not stay is paired all the same.
func TestInviteDoesNotWaitForLong(t *testing.T) {
	phone := device.Peer{ID: device.ID{1}, Name: wire.Clean("phone")}
	peer, took, err := inBubble(t, func(p *Pairing, _ *twin) { p.Paired(phone) })
	if err != nil || peer.ID != phone.ID || took != linkTimeout {
		t.Errorf("%+v after %s, %v", peer, took, err)
	}
}

// Nobody comes: the invitation ends at its time, by the wall clock.
func TestInvitationExpires(t *testing.T) {
	_, took, err := inBubble(t, func(*Pairing, *twin) {})
	if wire.CodeOf(err) != wire.CodeRequestExpired || took < device.InvitationLife || took > device.InvitationLife+time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}

// attacker: guesses. An invitation that ended by wrong proofs says so.
func TestWrongProofsEndTheInvitation(t *testing.T) {
	_, took, err := inBubble(t, func(_ *Pairing, w *twin) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.offer.End()
	})
	if wire.CodeOf(err) != wire.CodePairingInvalid || took != redeemTimeout {
		t.Errorf("after %s: %v", took, err)
	}
}

// One invitation at a time, and the next one after it.
func TestOneInvitation(t *testing.T) {
	stop := errors.New("stop")
	var second error
	synctest.Test(t, func(t *testing.T) {
		w := &twin{}
		p := New(Config{Name: "computer", Hosts: []string{"192.0.2.1:1"}, Hub: w, Links: w, Log: slog.New(slog.DiscardHandler)})
		for range 2 {
			_, err := p.Invite(t.Context(), nil, func(control.Invitation) error {
				_, second = p.Invite(t.Context(), nil, nil)
				return stop
			})
			if !errors.Is(err, stop) || wire.CodeOf(second) != control.CodeBusy {
				t.Errorf("first %v, second %v", err, second)
			}
		}
	})
}
