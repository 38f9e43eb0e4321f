package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

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
