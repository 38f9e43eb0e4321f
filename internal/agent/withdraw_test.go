package agent

import (
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Who withdraws a request on this computer ends it on the phone and at the client, as a
// denial does: the login's other keys are not asked for, and no certificate is asked for
// automatically.
func TestWithdraw(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, silent)
		w.connect(p)
		synctest.Wait()
		for _, ask := range []func() error{
			func() error { _, err := w.Sign(t.Context(), request(key, "session")); return err },
			func() error {
				p.staysSilent()
				_, err := w.RequestCertificate(t.Context(), control.CertificateOptions{})
				return err
			},
		} {
			gone := p.withdrawn()
			result := make(chan error, 1)
			go func() { result <- ask() }()
			synctest.Wait()
			waiting := w.Status().Waiting
			if len(waiting) != 1 {
				t.Fatalf("waiting: %+v", waiting)
			}
			if err := w.Withdraw(waiting[0].RequestID); err != nil {
				t.Error(err)
			}
			err := <-result
			synctest.Wait()
			if s := w.Status(); wire.CodeOf(err) != wire.CodeUserDenied || p.withdrawn() != gone+1 || len(s.Waiting) != 0 ||
				s.LastFailure == nil || s.LastFailure.Sentence != control.SentenceWithdrawn || s.LastFailure.Hint != "" {
				t.Errorf("%v; withdrawn %d times; %+v, %+v", err, p.withdrawn(), s.Waiting, s.LastFailure)
			}
			if err := w.Withdraw(waiting[0].RequestID); wire.CodeOf(err) != control.CodeNotWaiting {
				t.Errorf("withdrawn again: %v", err)
			}
		}
		if _, err := w.Sign(t.Context(), request(key, "session")); wire.CodeOf(err) != wire.CodeUserDenied || len(w.Status().Waiting) != 0 {
			t.Errorf("the same login: %v", err)
		}
	})
}

func TestLockedIsTold(t *testing.T) {
	w := newWorld(t)
	for _, locked := range []bool{true, false} {
		changed := w.Changed()
		w.locked(locked)
		select {
		case <-changed:
		default:
			t.Error("who watches is not told")
		}
		if w.Status().Locked != locked {
			t.Errorf("locked: %v, want %v", !locked, locked)
		}
	}
}
