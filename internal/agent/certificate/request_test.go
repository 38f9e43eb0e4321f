package certificate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Many who wait share one request, and the last one to leave withdraws it.
func TestEqualRequestsAreOne(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.says(false)
		p.staysSilent()
		w.connect(p)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 5)
		for range 5 {
			go func() {
				errs <- w.asks(ctx, DefaultValidity)
			}()
		}
		synctest.Wait()
		if asked := len(p.requests()); asked != 1 {
			t.Fatalf("asked %d times", asked)
		}
		cancel()
		for range 5 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		synctest.Wait()
		if p.withdrawn() != 1 || w.state().Renewing {
			t.Errorf("withdrawn %d times, still asking: %v", p.withdrawn(), w.state().Renewing)
		}
	})
}

// Who asks for other principals, or for another key or life, gets no certificate
// that somebody else has asked for.
func TestOnlyEqualRequestsShareACertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.says(false)
		p.staysSilent()
		w.connect(p)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 2)
		for range 2 {
			go func() { first <- w.asks(ctx, DefaultValidity, "deploy") }()
		}
		synctest.Wait()
		for name, err := range map[string]error{
			"for whom the phone says": w.asks(ctx, DefaultValidity),
			"for another principal":   w.asks(ctx, DefaultValidity, "root"),
			"for another time":        w.asks(ctx, time.Minute, "deploy"),
			"by another key": w.Request(ctx, Wanted{
				Phone: p.peer, Validity: DefaultValidity, Identity: []byte("blob"), Principals: []string{"deploy"},
			}),
		} {
			if wire.CodeOf(err) != control.CodeBusy {
				t.Errorf("joined another's request, %s: %v", name, err)
			}
		}
		w.wantAsked(p, 1, "for equal requests")
		cancel()
		for range 2 {
			if err := <-first; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// ssh-add -D while the phone asks withdraws the request.
func TestRemoveAllWhileAsking(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.staysSilent()
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		w.Remove()
		w.wantState(control.CertificateNone, "after ssh-add -D")
		if p.withdrawn() != 1 {
			t.Error("the phone goes on asking")
		}
		time.Sleep(time.Hour)
		w.wantAsked(p, 1, "an hour after ssh-add -D")
	})
}

// A certificate that comes in the same moment as ssh-add -D is not used.
func TestRemoveAllComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		came := w.Current()
		w.Remove()
		r := &request{done: make(chan struct{})}
		if w.finish(r, came, nil); !errors.Is(r.err, errRemoved) {
			t.Errorf("whoever waits is told %v", r.err)
		}
		w.wantState(control.CertificateNone, "after ssh-add -D")
	})
}

// A phone is unpaired in the moment in which its certificate comes: it is not
// used, and its CA is not trusted for a later pairing.
func TestUnpairedBeforeTheCertificateComes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		came := w.Current()
		r := &request{done: make(chan struct{}), wanted: Wanted{Phone: p.peer}, cancel: func(error) {}}
		w.mu.Lock()
		w.inFlight = r
		w.mu.Unlock()
		w.unpair(p)
		if err := w.CAs.Forget(p.peer.ID); err != nil {
			t.Fatal(err)
		}
		w.Forget(p.peer.ID)
		if w.finish(r, came, nil); !errors.Is(r.err, errRemoved) {
			t.Errorf("whoever waits is told %v", r.err)
		}
		w.wantState(control.CertificateNone, "unpaired")
		if err := w.CAs.Check(p.peer, p.ca.PublicKey().Marshal()); err == nil {
			t.Error("the CA of a phone that is not paired is taken")
		}
		if accepted, offered := w.CAs.Of(p.peer.ID); len(accepted)+len(offered) != 0 {
			t.Errorf("CAs are kept: %v, %v", accepted, offered)
		}
	})
}
