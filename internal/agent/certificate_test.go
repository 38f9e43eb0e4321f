package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// inBubble runs a test in virtual time, with an agent whose certificate lives.
func inBubble(t *testing.T, f func(t *testing.T, w *world, p *phone)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		p.keys = []wire.RemoteSignerPublicKey{remoteKey(newSigner(t), "mine")}
		w.keepLife()
		f(t, w, p)
		w.stop()
	})
}

func (w *world) wantAsked(p *phone, n int, when string) {
	w.t.Helper()
	synctest.Wait()
	if len(p.requests()) != n {
		w.t.Fatalf("%s: asked %d times for a certificate, want %d", when, len(p.requests()), n)
	}
}

func (w *world) wantState(want control.CertificateState, when string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.state(); got != want {
		w.t.Fatalf("%s: certificate is %s, want %s", when, got, want)
	}
	if listed := slices.Contains(w.comments(), certificateComment); listed != (want == control.CertificateValid) {
		w.t.Fatalf("%s: certificate listed: %v, while it is %s", when, listed, want)
	}
}

func TestIssueOnLinkUpAndRenew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.wantState(control.CertificateNone, "at first")
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		w.wantAsked(p, 1, "after link-up")
		if !p.requests()[0].Automatic || p.requests()[0].RequestedValiditySeconds != 28800 {
			t.Errorf("asked for %+v", p.requests()[0])
		}
		if got := w.comments(); !slices.Equal(got, []string{"mine", certificateComment}) {
			t.Errorf("listed %q", got)
		}
		time.Sleep(7*time.Hour - time.Second)
		w.wantAsked(p, 1, "60 minutes and a second before the end")
		time.Sleep(3 * time.Second)
		w.wantAsked(p, 2, "under 60 minutes before the end")
		time.Sleep(2 * time.Hour)
		w.wantState(control.CertificateValid, "after the first one's end")
	})
}

// The old one serves until the new one is verified, and for logins under way a
// little longer.
func TestOldServesWhileRenewing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		old := w.certificate()
		approve := make(chan struct{})
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			received()
			select {
			case <-approve:
			case <-ctx.Done():
			}
			return p.approve(ctx, kind, body, received)
		})
		time.Sleep(7*time.Hour + 5*time.Second)
		synctest.Wait()
		if !w.ShowCertificate().Renewing {
			t.Fatal("not renewing")
		}
		if !w.signsLogin(old) {
			t.Fatal("the old certificate does not sign while the new one is asked for")
		}
		close(approve)
		synctest.Wait()
		current := w.certificate()
		if string(current) == string(old) {
			t.Fatal("not renewed")
		}
		if !w.signsLogin(old) {
			t.Error("a login that saw the old certificate just before fails")
		}
		time.Sleep(graceOfOld + time.Second)
		if w.signsLogin(old) {
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
		if line := w.Status().CertificateLine; line != "Certificate expired — connect phone to renew" {
			t.Errorf("certificate line %q", line)
		}
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
		time.Sleep(calm - time.Second)
		w.disconnect(p)
		w.connect(p)
		w.wantAsked(p, 1, "59 s after the denial")
		w.disconnect(p)
		time.Sleep(time.Second)
		w.connect(p)
		w.wantAsked(p, 2, "a minute after the denial")
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

func TestUserAsksAfterDenial(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.refuse(wire.CodeUserDenied)
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		time.Sleep(time.Hour)
		w.wantAsked(p, 1, "an hour later")
		_, err := w.RequestCertificate(t.Context(), control.CertificateOptions{})
		if wire.CodeOf(err) != wire.CodeUserDenied {
			t.Fatalf("denied request: %v", err)
		}
		if f := w.Status().LastFailure; f == nil || f.Code != wire.CodeUserDenied || f.Sentence != "Denied on the phone." {
			t.Errorf("last failure %+v", f)
		}
		p.does(p.approve)
		c, err := w.RequestCertificate(t.Context(), control.CertificateOptions{ValiditySeconds: 600})
		if err != nil || c.State != control.CertificateValid || p.requests()[2].Automatic {
			t.Fatalf("request: %v, %+v", err, c)
		}
		if w.Status().LastFailure != nil {
			t.Error("a success does not end the failure")
		}
	})
}

// A life of 40 minutes is always under 60: it must not be renewed in a loop.
func TestShortenedValidity(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			r, ok := body.(*wire.CertificateRequest)
			if !ok {
				return p.approve(ctx, kind, body, received)
			}
			p.note(r)
			return wire.KindCertificateResponse, p.issue(r, 40*time.Minute, nil), nil
		})
		w.connect(p)
		time.Sleep(29 * time.Minute)
		w.wantAsked(p, 1, "with 11 of 40 minutes left")
		time.Sleep(2 * time.Minute)
		w.wantAsked(p, 2, "with 9 of 40 minutes left")
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
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantState(control.CertificateValid, "after the request")
		blob := w.certificate()
		w.disconnect(p)
		time.Sleep(8*time.Hour - time.Second)
		w.wantState(control.CertificateValid, "in its last second")
		time.Sleep(time.Second)
		w.wantState(control.CertificateExpired, "after its last second")
		if w.signsLogin(blob) {
			t.Error("an expired certificate signs")
		}
		w.connect(p)
		synctest.Wait()
		w.lookAtCertificate(time.Now())
		w.wantState(control.CertificateValid, "the phone is back after the sleep")
		w.stop()
	})
}

func TestCAChangeIsRefusedUntilAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		before := w.certificate()
		p.ca = newSigner(t)
		_, err := w.RequestCertificate(t.Context(), control.CertificateOptions{})
		if wire.CodeOf(err) != control.CodeCAChanged {
			t.Fatalf("another CA: %v", err)
		}
		if string(w.certificate()) != string(before) {
			t.Error("the refused certificate is listed")
		}
		ca, err := w.CA()
		if err != nil || len(ca) != 1 || ca[0].Confirmed || ca[0].Previous == "" || len(w.Status().Warnings) != 1 {
			t.Fatalf("CA %+v, %v; warnings %q", ca, err, w.Status().Warnings)
		}
		if _, err := w.AcceptCA("phone", "SHA256:other"); err == nil {
			t.Error("accepted under another fingerprint")
		}
		if _, err := w.AcceptCA("phone", ca[0].Fingerprint); err != nil {
			t.Fatal(err)
		}
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil {
			t.Errorf("after accepting: %v", err)
		}
		if len(w.Status().Warnings) != 0 {
			t.Errorf("warnings stay: %q", w.Status().Warnings)
		}
	})
}

// attacker's certificates: each is refused, and what was there stays.
func TestBadCertificates(t *testing.T) {
	other := newSigner(t)
	for name, spoil := range map[string]func(*ssh.Certificate){
		"another key":         func(c *ssh.Certificate) { c.Key = other.PublicKey() },
		"host certificate":    func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
		"no principals":       func(c *ssh.Certificate) { c.ValidPrincipals = nil },
		"already expired":     func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Unix()) },
		"not yet valid":       func(c *ssh.Certificate) { c.ValidAfter = uint64(time.Now().Add(time.Hour).Unix()) },
		"for ever":            func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity },
		"unknown critical":    func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"new@example.com": ""} },
		"longer than allowed": func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(9 * time.Hour).Unix()) },
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
				return p.issue(r, 8*time.Hour, spoil)
			})
		})
	}
	t.Run("names another CA", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.CAPublicKey = other.PublicKey().Marshal()
			return a
		})
	})
	t.Run("of another CA than the phone's, which it names", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			own := p.ca.PublicKey().Marshal()
			a := (&phone{ca: other}).issue(r, 8*time.Hour, nil)
			a.CAPublicKey = own
			return a
		})
	})
	t.Run("says another end", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.ValidBefore--
			return a
		})
	})
	t.Run("says another beginning", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.ValidAfter++
			return a
		})
	})
	t.Run("spoilt signature", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.CertificateBlob[len(a.CertificateBlob)-1] ^= 1
			return a
		})
	})
	t.Run("answers another request", func(t *testing.T) {
		wantRefused(t, func(p *phone, r *wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.RequestID = wire.NewID()
			return a
		})
	})
}

// What a phone may do is taken: to the second, and with every critical option of
// PROTOCOL.certkeys.
func TestGoodCertificates(t *testing.T) {
	const asked = 8 * time.Hour
	for name, change := range map[string]func(*ssh.Certificate){
		"valid from now on": func(c *ssh.Certificate) { c.ValidAfter = uint64(time.Now().Unix()) },
		"clock ahead":       func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(asked + skewAllowed).Unix()) },
		"critical options": func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"force-command": "true", "source-address": "192.0.2.1", "verify-required": ""}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world, p *phone) {
				p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
					if r, ok := body.(*wire.CertificateRequest); ok {
						return wire.KindCertificateResponse, p.issue(r, asked, change), nil
					}
					return p.approve(ctx, kind, body, received)
				})
				w.connect(p)
				w.wantState(control.CertificateValid, "after link-up")
			})
		})
	}
}

// ssh-add -D while the phone asks withdraws the request.
func TestRemoveAllWhileAsking(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.staysSilent()
		w.connect(p)
		w.wantAsked(p, 1, "after link-up")
		w.RemoveAll()
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
		came := w.cert.session
		w.RemoveAll()
		f := &flight{done: make(chan struct{})}
		if w.land(f, came, nil); !errors.Is(f.err, errCertificateRemoved) {
			t.Errorf("whoever waits is told %v", f.err)
		}
		w.wantState(control.CertificateNone, "after ssh-add -D")
	})
}

// A certificate that its phone has revoked is dropped at once, with the one that it
// replaced, and none is asked for by itself. What another phone says, or of
// another serial, counts for nothing.
func TestRevoked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		other := w.addPhone(2, "otherphone")
		other.hello.AutomaticIssuance = false
		w.connect(p)
		w.connect(other)
		w.wantState(control.CertificateValid, "after link-up")
		blob := w.certificate()
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{Phone: "phone"}); err != nil {
			t.Fatal(err)
		}
		hello := func(from *phone, serials ...string) {
			h := from.hello
			h.RevokedSerials = serials
			handler{w.Agent}.HelloChanged(from.peer, h)
		}
		hello(other, "7")
		hello(p, "8", "77")
		w.wantState(control.CertificateValid, "revoked by another phone, and another serial")
		hello(p, "8", "7")
		w.wantState(control.CertificateNone, "revoked")
		if w.signsLogin(blob) {
			t.Error("the certificate before signs on")
		}
		told := func(e control.Event) bool { return e.Text == "Session certificate revoked on phone" }
		if h := w.Status().History; !slices.ContainsFunc(h, told) {
			t.Errorf("history %+v", h)
		}
		time.Sleep(time.Hour)
		w.wantAsked(p, 2, "an hour after the revocation")
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
			s := w.snapshot.Load()
			return w.cert.session != nil || s.session != nil, w.cert.old != nil || s.old != nil
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

func wantRefused(t *testing.T, answer func(*phone, *wire.CertificateRequest) wire.CertificateResponse) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.says(p, false)
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			if r, ok := body.(*wire.CertificateRequest); ok {
				return wire.KindCertificateResponse, answer(p, r), nil
			}
			return p.approve(ctx, kind, body, received)
		})
		w.connect(p)
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); err == nil {
			t.Error("accepted")
		}
		w.wantState(control.CertificateNone, "after the refusal")
	})
}

// Many who wait share one request, and the last one to leave withdraws it.
func TestSingleFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.says(p, false)
		p.staysSilent()
		w.connect(p)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := w.RequestCertificate(ctx, control.CertificateOptions{})
				errs <- err
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
		if p.withdrawn() != 1 || w.inFlight() {
			t.Errorf("withdrawn %d times, still asking: %v", p.withdrawn(), w.inFlight())
		}
	})
}

func TestRemoveAll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		blob := w.certificate()
		w.RemoveAll()
		w.wantState(control.CertificateNone, "after ssh-add -D")
		if w.signsLogin(blob) {
			t.Error("the removed certificate signs")
		}
		if got := w.comments(); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("listed %q", got)
		}
		time.Sleep(time.Hour)
		w.wantAsked(p, 1, "an hour after ssh-add -D")
		w.disconnect(p)
		w.connect(p)
		w.wantState(control.CertificateValid, "connected anew")
	})
}

// A phone in a pocket is asked once, not every 30 seconds.
func TestUnansweredIsNotRepeatedSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.staysSilent()
		w.connect(p)
		time.Sleep(61 * time.Second)
		if f := w.Status().LastFailure; f == nil || f.Code != wire.CodeRequestExpired || f.Sentence != "No answer within 60 s." {
			t.Errorf("last failure %+v", f)
		}
		time.Sleep(9 * time.Minute)
		if asked := len(p.requests()); asked != 1 {
			t.Errorf("asked %d times within ten minutes", asked)
		}
	})
}
