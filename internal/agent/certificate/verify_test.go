package certificate

import (
	"context"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/wire"
)

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
			wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
				return p.issue(r, 8*time.Hour, spoil)
			})
		})
	}
	t.Run("names another CA", func(t *testing.T) {
		wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.CAPublicKey = other.PublicKey().Marshal()
			return a
		})
	})
	t.Run("of another CA than the phone's, which it names", func(t *testing.T) {
		wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
			own := p.ca.PublicKey().Marshal()
			a := (&phone{ca: other}).issue(r, 8*time.Hour, nil)
			a.CAPublicKey = own
			return a
		})
	})
	t.Run("says another end", func(t *testing.T) {
		wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.ValidBefore--
			return a
		})
	})
	t.Run("says another beginning", func(t *testing.T) {
		wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.ValidAfter++
			return a
		})
	})
	t.Run("spoilt signature", func(t *testing.T) {
		wantRefused(t, func(p *phone, r wire.CertificateRequest) wire.CertificateResponse {
			a := p.issue(r, 8*time.Hour, nil)
			a.CertificateBlob[len(a.CertificateBlob)-1] ^= 1
			return a
		})
	})
}

func wantRefused(t *testing.T, answer func(*phone, wire.CertificateRequest) wire.CertificateResponse) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		p.says(false)
		p.does(func(_ context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
			return answer(p, r), nil
		})
		w.connect(p)
		if err := w.asks(t.Context(), DefaultValidity); err == nil {
			t.Error("accepted")
		}
		w.wantState(control.CertificateNone, "after the refusal")
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
				p.does(func(_ context.Context, r wire.CertificateRequest) (wire.CertificateResponse, error) {
					return p.issue(r, asked, change), nil
				})
				w.connect(p)
				w.wantState(control.CertificateValid, "after link-up")
			})
		})
	}
}
