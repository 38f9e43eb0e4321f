package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/wire"
)

// ssh tries one key after the other. Once a login was denied, expired, or no phone
// showed it, its other keys fail at once, for the same reason; the next login is
// asked about.
func TestOneAnswerForAllKeysOfALogin(t *testing.T) {
	for _, c := range []struct {
		name    string
		decide  func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error
		away    bool
		code    wire.Code
		takes   time.Duration
		askedIn int // requests of two logins
	}{
		{name: "denied", decide: denies, code: wire.CodeUserDenied, askedIn: 2},
		{name: "expired", decide: silent, code: wire.CodeRequestExpired, takes: time.Minute, askedIn: 2},
		{name: "away", decide: approves, away: true, code: wire.CodePhoneNotReachable, takes: awayTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
				p.signing(key, c.decide)
				second, third := newSigner(t), newSigner(t)
				p.keys = append(p.keys, remoteKey(second, "second"), remoteKey(third, "third"))
				w.connect(p)
				synctest.Wait()
				if c.away {
					w.disconnect(p)
				}
				for _, login := range []string{"one", "two"} {
					for i, k := range []ssh.Signer{key, second, third, key} {
						began, want := time.Now(), c.takes
						if i > 0 {
							want = 0
						}
						_, err := w.Sign(t.Context(), request(k, login))
						if wire.CodeOf(err) != c.code || time.Since(began) != want {
							t.Errorf("login %s, key %d: %v after %v, want %s after %v", login, i, err, time.Since(began), c.code, want)
						}
					}
				}
				if n := len(p.requests()); n != c.askedIn {
					t.Errorf("asked %d times, want %d", n, c.askedIn)
				}
				if f := w.Status().LastFailure; f == nil || f.Code != c.code {
					t.Errorf("the status says %+v", f)
				}
			})
		})
	}
}
