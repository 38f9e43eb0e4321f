package sshagent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Each wrong passphrase is answered later than the one before, up to 10 s; the
// right one at once, and a new locking begins anew.
func TestGuessesTakeEverLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lock
		try := func(passphrase string, want bool, after time.Duration) {
			t.Helper()
			began := time.Now()
			if got := l.unlock(t.Context(), []byte(passphrase)); got != want || time.Since(began) != after {
				t.Errorf("%q: %v after %v, want %v after %v", passphrase, got, time.Since(began), want, after)
			}
		}
		try("right", false, 0) // it is not locked
		for range 2 {
			l.lock([]byte("right"))
			for n := range 150 {
				try("wrong", false, min(time.Duration(n+1)*unlockDelay, maxUnlockDelay))
			}
			try("right", true, 0)
			try("right", false, 0) // it is open already
		}
		l.lock(nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if began := time.Now(); l.unlock(ctx, []byte("wrong")) || time.Since(began) != 0 {
			t.Error("a client that has gone is waited for")
		}
		try("", true, 0) // as in OpenSSH, an empty passphrase is one
	})
}
