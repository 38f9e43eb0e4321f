package link

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff paces attempts: pauses grow from Min to Max. It belongs to one
// goroutine.
type Backoff struct {
	Min, Max time.Duration

	pause time.Duration
}

// Reset makes the next pause the shortest.
func (b *Backoff) Reset() { b.pause = 0 }

// Longest makes the next pause the longest.
func (b *Backoff) Longest() { b.pause = b.Max }

// Rest waits for about the pause: a random half of it keeps devices that lost
// the same network from coming back in step. However often it is woken, it
// lasts Min.
func (b *Backoff) Rest(ctx context.Context, wake <-chan struct{}) {
	pause := min(max(b.pause, b.Min), b.Max)
	b.pause = 2 * pause
	least := min(pause, b.Min)
	pause = max(least, pause/2+rand.N(pause/2+1))
	if sleep(ctx, least, nil) {
		sleep(ctx, pause-least, wake)
	}
}

func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}

// Slept reports whether the machine slept between two readings of the clock:
// the wall clock goes on then, the monotonic one does not.
func Slept(before, after time.Time) bool {
	return after.Round(0).Sub(before.Round(0))-after.Sub(before) > 2*time.Second
}
