package waking

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A time with a monotonic reading would be reached late after a suspend, during
// which that clock stops.
func TestWindowEndsByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := NewRequest("1", time.Now(), time.Minute).Context(t.Context())
		time.Sleep(time.Minute - time.Millisecond)
		if ctx.Err() != nil {
			t.Errorf("before the end: %v", context.Cause(ctx))
		}
		time.Sleep(wallClockEvery)
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("a second after the end: %v", context.Cause(ctx))
		}
		cancel()
	})
}
