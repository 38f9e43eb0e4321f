package certificate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// The old one serves until the new one is verified, and for logins under way a
// little longer.
func TestOldServesWhileRenewing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		old := w.Current().Blob
		approve := make(chan struct{})
		p.does(func(ctx context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
			select {
			case <-approve:
			case <-ctx.Done():
			}
			return p.approve(ctx, r)
		})
		time.Sleep(7*time.Hour + 5*time.Second)
		synctest.Wait()
		if !w.state().Renewing {
			t.Fatal("not renewing")
		}
		if !w.signs(old) {
			t.Fatal("the old certificate does not sign while the new one is asked for")
		}
		close(approve)
		synctest.Wait()
		current := w.Current().Blob
		if string(current) == string(old) {
			t.Fatal("not renewed")
		}
		if !w.signs(old) {
			t.Error("a login that saw the old certificate just before fails")
		}
		time.Sleep(graceOfOld + time.Second)
		if w.signs(old) {
			t.Error("the old certificate signs for ever")
		}
	})
}

func TestDenialIsNotAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		p.refuse(wire.CodeUserDenied)
		time.Sleep(7*time.Hour + time.Minute)
		w.wantAsked(p, 2, "at renewal")
		w.wantState(control.CertificateValid, "after the denial")
		w.disconnect(p)
		w.connect(p)
		time.Sleep(40 * time.Minute)
		w.disconnect(p)
		w.connect(p)
		w.wantAsked(p, 2, "while the old one is valid, though the phone reconnects")
		time.Sleep(70 * time.Minute)
		w.wantState(control.CertificateExpired, "after expiry")
		w.wantAsked(p, 2, "after expiry, without connecting anew")
		p.does(p.approve)
		w.disconnect(p)
		w.connect(p)
		w.wantAsked(p, 3, "expired and connected anew")
		w.wantState(control.CertificateValid, "approved")
	})
}

// A denial without any certificate holds for a minute against a link that comes
// and goes; a phone that connects anew after it may be asked.
func TestDenialHoldsOnAnUnsteadyLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.refuse(wire.CodeUserDenied)
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		time.Sleep(retryUnreachable - time.Second)
		w.disconnect(p)
		w.connect(p)
		w.wantAsked(p, 1, "59 s after the denial")
		w.disconnect(p)
		time.Sleep(time.Second)
		w.connect(p)
		w.wantAsked(p, 2, "a minute after the denial")
	})
}

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
		time.Sleep(retryUnreachable)
		w.connect(p)
		w.wantAsked(p, 3, "more than a minute after the denial")
	})
}

// Of two phones with a CA the one is asked that issued the certificate before.
func TestRenewedByTheSamePhone(t *testing.T) {
	for _, first := range []int{0, 1} {
		inBubble(t, func(t *testing.T, w *world, p *phone) {
			phones := []*phone{p, w.addPhone(2, "otherphone")}
			w.connect(phones[first])
			w.wantAsked(phones[first], 1, "after link-up")
			w.connect(phones[1-first])
			time.Sleep(7*time.Hour + 5*time.Second)
			w.wantAsked(phones[first], 2, "at renewal")
			w.wantAsked(phones[1-first], 0, "at the other's renewal")
		})
	}
}

// A life of 40 minutes is always under 60: it must not be renewed in a loop.
func TestShortenedValidity(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.does(func(_ context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
			return p.issue(r, 40*time.Minute, nil), nil
		})
		w.connect(p)
		time.Sleep(29 * time.Minute)
		w.wantAsked(p, 1, "with 11 of 40 minutes left")
		time.Sleep(2 * time.Minute)
		w.wantAsked(p, 2, "with 9 of 40 minutes left")
	})
}

// A phone whose key has hours gives no certificate that outlasts them: it is asked
// once more before their end, and not ever more often.
func TestRenewalThatGainsNothingIsNotRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		end := time.Now().Add(3 * time.Hour)
		p.does(func(_ context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
			return p.issue(r, time.Until(end), nil), nil
		})
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		time.Sleep(time.Until(end) - time.Second)
		w.wantAsked(p, 2, "a second before the end")
	})
}

// Timers stop while a laptop sleeps: nothing here runs any, and yet an expired
// certificate is neither listed nor used.
func TestExpiryNeedsNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		w.connect(p)
		synctest.Wait()
		if err := w.asks(t.Context(), DefaultValidity); err != nil {
			t.Fatal(err)
		}
		w.wantState(control.CertificateValid, "after the request")
		blob := w.Current().Blob
		w.disconnect(p)
		time.Sleep(8*time.Hour - time.Second)
		w.wantState(control.CertificateValid, "in its last second")
		time.Sleep(time.Second)
		w.wantState(control.CertificateExpired, "after its last second")
		if w.signs(blob) {
			t.Error("an expired certificate signs")
		}
		w.connect(p)
		synctest.Wait()
		w.lookAt(time.Now())
		w.wantState(control.CertificateValid, "the phone is back after the sleep")
		w.stop()
	})
}

// A key whose certificate is over leaves the memory by itself, though nobody
// lists or signs.
func TestKeysAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		held := func() (current, old bool) {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.session != nil, w.old != nil
		}
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		time.Sleep(7*time.Hour + 5*time.Second)
		if current, old := held(); !current || !old {
			t.Fatalf("renewed: current %v, old %v", current, old)
		}
		w.disconnect(p)
		time.Sleep(graceOfOld + lookAgain)
		if _, old := held(); old {
			t.Error("the key that was replaced stays")
		}
		time.Sleep(9 * time.Hour)
		if current, _ := held(); current {
			t.Error("the expired key stays")
		}
	})
}
