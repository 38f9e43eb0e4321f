package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// A denial after the certificate's end holds against a link that comes and goes,
// as one without any certificate does.
func TestDenialAfterExpiryHoldsOnAnUnsteadyLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		w.disconnect(p)
		time.Sleep(9 * time.Hour)
		w.wantState(control.CertificateExpired, "nine hours later")
		p.refuse(wire.CodeUserDenied)
		w.connect(p)
		w.wantAsked(p, 2, "expired and connected anew")
		for range 30 {
			w.disconnect(p)
			time.Sleep(time.Second)
			w.connect(p)
		}
		w.wantAsked(p, 2, "half a minute after the denial")
		w.disconnect(p)
		time.Sleep(calm)
		w.connect(p)
		w.wantAsked(p, 3, "more than a minute after the denial")
	})
}

// A phone that revokes a certificate and sleeps then, as a page does, never answers
// what else the agent asks.
func TestRevocationWaitsForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		p.does(func(ctx context.Context, _ wire.Kind, _ any, _ func()) (wire.Kind, any, error) {
			<-ctx.Done()
			return "", nil, ctx.Err()
		})
		blob, hello := w.certificate(), p.hello
		hello.RevokedSerials = []string{"7"}
		handler{w.Agent}.HelloChanged(p.peer, hello)
		if w.signsLogin(blob) {
			t.Error("a revoked certificate signs")
		}
		w.wantState(control.CertificateNone, "revoked")
		time.Sleep(refreshTimeout)
	})
}

// The phone revokes what it has just sent, before the agent has it in place.
func TestRevokedBeforeItLands(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.says(p, false)
		w.connect(p)
		synctest.Wait()
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			if kind == wire.KindCertificateRequest {
				w.net.mu.Lock()
				p.hello.RevokedSerials = []string{"7"}
				hello := p.hello
				w.net.mu.Unlock()
				handler{w.Agent}.HelloChanged(p.peer, hello)
			}
			return p.approve(ctx, kind, body, received)
		})
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err == nil {
			t.Error("a revoked certificate is taken")
		}
		w.wantState(control.CertificateNone, "revoked")
	})
}

// A phone is unpaired in the moment in which its certificate comes: it is not
// used, and its CA is not trusted for a later pairing.
func TestUnpairedBeforeTheCertificateLands(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		came := w.cert.session
		f := &flight{done: make(chan struct{}), wanted: wanted{phone: p.peer}, cancel: func(error) {}}
		w.mu.Lock()
		w.cert.flight = f
		w.mu.Unlock()
		if err := w.forget(p.peer.ID); err != nil {
			t.Fatal(err)
		}
		if w.land(f, came, nil); !errors.Is(f.err, errCertificateRemoved) {
			t.Errorf("whoever waits is told %v", f.err)
		}
		w.wantState(control.CertificateNone, "unpaired")
		if err := w.meetCA(p.peer.ID, p.peer.Name, p.ca.PublicKey().Marshal()); err == nil {
			t.Error("the CA of a phone that is not paired is met")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.cas.accepted)+len(w.cas.offered) != 0 {
			t.Errorf("CAs are kept: %v, %v", w.cas.accepted, w.cas.offered)
		}
	})
}

// Who asks for other principals, or for another key or life, gets no certificate
// that somebody else has asked for.
func TestOnlyEqualRequestsShareACertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.says(p, false)
		p.staysSilent()
		w.connect(p)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		asks := func(o control.CertificateOptions) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := w.RequestCertificate(ctx, o)
				done <- err
			}()
			return done
		}
		first := []<-chan error{asks(control.CertificateOptions{Principals: []string{"deploy"}}), asks(control.CertificateOptions{Principals: []string{"deploy"}})}
		synctest.Wait()
		for _, o := range []control.CertificateOptions{{}, {Principals: []string{"root"}}, {Principals: []string{"deploy"}, ValiditySeconds: 60}} {
			if err := <-asks(o); wire.CodeOf(err) != control.CodeBusy {
				t.Errorf("%+v: %v", o, err)
			}
		}
		// Both before either is under way.
		if _, err := w.takeOff(wanted{phone: p.peer, validity: defaultValidity, principals: []string{"root"}}); wire.CodeOf(err) != control.CodeBusy {
			t.Errorf("joined another's request: %v", err)
		}
		w.wantAsked(p, 1, "for equal requests")
		cancel()
		for _, done := range first {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// A phone whose key has hours gives no certificate that outlasts them: it is asked
// once more before their end, and not ever more often.
func TestRenewalThatGainsNothingIsNotRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		end := time.Now().Add(3 * time.Hour)
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			r, ok := body.(*wire.CertificateRequest)
			if !ok {
				return p.approve(ctx, kind, body, received)
			}
			p.note(r)
			return wire.KindCertificateResponse, p.issue(r, time.Until(end), nil), nil
		})
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		time.Sleep(time.Until(end) - time.Second)
		w.wantAsked(p, 2, "a second before the end")
	})
}
