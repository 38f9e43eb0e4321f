package agent

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/control"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
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
	if listed := slices.Contains(w.comments(), certificate.Comment); listed != (want == control.CertificateValid) {
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
		if got := w.comments(); !slices.Equal(got, []string{"mine", certificate.Comment}) {
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

// The line of the status says how it stands with the certificate, word for word.
func TestCertificateLine(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		want := func(line string) {
			t.Helper()
			synctest.Wait()
			if got := w.Status().CertificateLine; got != line {
				t.Errorf("%q, want %q", got, line)
			}
		}
		want("No session certificate")
		until := time.Now().Add(8 * time.Hour)
		w.connect(p)
		want("Certificate valid until " + until.Local().Format("2006-01-02 15:04:05"))
		w.disconnect(p)
		time.Sleep(9 * time.Hour)
		want("Certificate expired — connect phone to renew")
	})
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
		blob := w.listedCertificate()
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

// A phone that has the CA from a backup speaks for the certificates that the one before it
// has issued, from the first link on.
func TestRevokedByARestoredPhone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		restored := w.addPhone(2, "restored")
		restored.hello.CAPublicKey, restored.hello.RevokedSerials = p.hello.CAPublicKey, []string{"7"}
		blob := w.listedCertificate()
		w.connect(restored)
		synctest.Wait()
		if w.signsLogin(blob) {
			t.Error("the certificate signs on")
		}
	})
}

func TestRemoveAll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		blob := w.listedCertificate()
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

// What answers another request is not used.
func TestAnswerToAnotherRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.says(p, false)
		p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			r, ok := body.(*wire.CertificateRequest)
			if !ok {
				return p.approve(ctx, kind, body, received)
			}
			a := wiretest.Issue(p.ca, *r, 8*time.Hour, nil)
			a.RequestID = wire.NewID()
			return wire.KindCertificateResponse, a, nil
		})
		w.connect(p)
		if _, err := w.RequestCertificate(t.Context(), control.CertificateOptions{}); wire.CodeOf(err) != wire.CodeMalformedRequest {
			t.Error(err)
		}
		w.wantState(control.CertificateNone, "after the answer")
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
		blob, hello := w.listedCertificate(), p.hello
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
func TestRevokedBeforeItIsInPlace(t *testing.T) {
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
