package sshagent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// attacker: guesses on many connections at once gain nothing: they are tried one
// after the other, each when the one before has been answered.
func TestGuessesOnManyConnectionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLock()
		l.lock([]byte("right"))
		const guesses = 2000
		began := time.Now()
		var all sync.WaitGroup
		for range guesses {
			all.Go(func() {
				if l.unlock(t.Context(), []byte("wrong")) {
					t.Error("unlocked")
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < (guesses-100)*maxUnlockDelay {
			t.Errorf("%d guesses took %v", guesses, took)
		}
		if !l.unlock(t.Context(), []byte("right")) {
			t.Error("the right passphrase does not unlock")
		}
	})
}

// Each wrong passphrase is answered later than the one before, up to 10 s; the
// right one at once, and a new locking begins anew.
func TestGuessesTakeEverLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLock()
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
