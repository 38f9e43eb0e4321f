package sshagent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"
)

// lock is the state of `ssh-add -x` and `-X`. The passphrase itself is not
// kept: it is often one that its owner uses elsewhere.
type lock struct {
	closed atomic.Bool // readable without mu: it is asked at each request

	// turn holds a value while a passphrase is tried, and until a wrong one has
	// been answered: else a guesser would use as many connections as it likes.
	turn chan struct{}

	mu   sync.Mutex
	salt [16]byte
	hash [sha256.Size]byte
	bad  int // wrong tries since it was locked
}

func newLock() lock { return lock{turn: make(chan struct{}, 1)} }

const (
	unlockDelay    = 100 * time.Millisecond
	maxUnlockDelay = 10 * time.Second
)

func (l *lock) locked() bool { return l.closed.Load() }

func (l *lock) lock(passphrase []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return false
	}
	_, _ = rand.Read(l.salt[:])
	l.hash = l.digest(passphrase)
	l.bad = 0
	l.closed.Store(true)
	return true
}

// unlock answers a wrong passphrase ever later, up to 10 s, and tries no other
// meanwhile, whoever sends it. It disturbs only those that want to unlock.
func (l *lock) unlock(ctx context.Context, passphrase []byte) bool {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return false
	}
	delay, ok := l.try(passphrase)
	if ok || delay == 0 {
		return ok
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	return false
}

func (l *lock) try(passphrase []byte) (delay time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed.Load() {
		return 0, false
	}
	digest := l.digest(passphrase)
	if subtle.ConstantTimeCompare(digest[:], l.hash[:]) == 1 {
		l.closed.Store(false)
		return 0, true
	}
	l.bad++
	return min(time.Duration(l.bad)*unlockDelay, maxUnlockDelay), false
}

func (l *lock) digest(passphrase []byte) [sha256.Size]byte {
	return sha256.Sum256(append(l.salt[:len(l.salt):len(l.salt)], passphrase...))
}
