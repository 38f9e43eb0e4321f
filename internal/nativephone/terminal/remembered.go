package terminal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vmux/internal/signer"
)

// A passphrase is remembered for the terminal at which it was typed, and for no other:
// another program of the same user's can attach a terminal of its own, and has to know the
// passphrase there. Remembering spares the typing. Each request is asked about all the same.

// remembered returns the passphrase that was typed here before, unless it was wrong.
func (t *Terminal) remembered(r signer.PassphraseRequest) []byte {
	if r.Attempt > 1 {
		t.Memory.Forget(r.Key)
		return nil
	}
	secret, _ := t.Memory.Secret(r.Key)
	if secret != nil {
		r.Remembered()
	}
	return secret
}

// unlocked remembers a passphrase that was right.
func (t *Terminal) unlocked(r signer.PassphraseRequest, secret []byte) {
	if t.Memory == nil {
		return
	}
	t.Memory.Keep(r.Key, secret)
	if t.offering.CompareAndSwap(false, true) {
		t.rest.Go(t.offerLock)
	}
}

// unlockedText is what a sheet says of a passphrase that will not be asked for.
func (t *Terminal) unlockedText(key string) string {
	until := t.Memory.Until(key)
	if until.IsZero() {
		return ""
	}
	var b strings.Builder
	row(&b, "unlocked", "for "+minutesLeft(until)+": no passphrase is asked for; l locks")
	return b.String()
}

// minutesLeft is a time that is not drawn anew each second.
func minutesLeft(until time.Time) string {
	left := time.Until(until)
	if left < time.Minute {
		return "less than 1 min"
	}
	return fmt.Sprintf("%d min", int((left+time.Minute-time.Second)/time.Minute))
}

// locksBy reports whether a key of a sheet's has locked what is remembered for it.
func (t *Terminal) locksBy(b byte, key string) bool {
	if b|0x20 != 'l' || t.Memory.Until(key).IsZero() {
		return false
	}
	t.lock()
	t.print("Locked: the passphrase will be asked for.\n")
	return true
}

func (t *Terminal) lock() {
	if t.Lock != nil {
		t.Lock()
	}
	t.Memory.Clear()
}

// offerLock says that passphrases are remembered, and takes the key that ends it, while
// nothing is asked.
func (t *Terminal) offerLock() {
	for again := true; again; {
		var ended bool
		var err error
		for !ended && err == nil {
			if err = t.take(t.life, last); err == nil {
				ended, err = t.standsUnlocked(t.life)
				t.screen.give()
			}
		}
		t.offering.Store(false)
		// Something may have been typed meanwhile. Where nobody can be asked, the next
		// passphrase that is typed offers it again.
		again = err == nil && !t.Memory.Last().IsZero() && t.offering.CompareAndSwap(false, true)
	}
}

// standsUnlocked reports that nothing is remembered any more, or that it gives way to a
// request and is to be called again.
func (t *Terminal) standsUnlocked(ctx context.Context) (ended bool, err error) {
	for {
		until := t.Memory.Last()
		if until.IsZero() {
			t.end("Locked: each passphrase is asked for again.")
			return true, nil
		}
		t.draw("Unlocked for " + minutesLeft(until) + ". l locks ")
		typed, err := t.read(ctx)
		switch {
		case err != nil, t.screen.others() > 0:
			t.draw("")
			return false, err
		case strings.ContainsAny(string(typed), "lL"):
			t.lock()
		}
		clear(typed)
	}
}
