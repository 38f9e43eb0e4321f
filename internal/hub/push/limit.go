package push

import (
	"sync"
	"time"

	"vmux/internal/device"
)

// How often. A phone that was rung has seconds to come; ringing faster only
// annoys its owner and spends what its push service allows the hub.
const (
	wakingBurst, wakingEvery       = 10, 5 * time.Second  // by one waking device
	wokenBurst, wokenEvery         = 5, 10 * time.Second  // of one woken device
	subscribeBurst, subscribeEvery = 10, 30 * time.Second // changes of one device's subscription

	// maxBuckets bounds the memory of one limiter.
	maxBuckets = 20_000
)

// limiter lets each device do something burst times at once, and then once in
// every period. It remembers only devices that are not back at their burst.
type limiter struct {
	burst int
	every time.Duration

	mu      sync.Mutex
	buckets map[device.ID]time.Time // when the device is back at its burst
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every, buckets: map[device.ID]time.Time{}}
}

// take reports whether the device may, now, and counts it if so.
func (l *limiter) take(id device.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.buckets[id]
	longest := now.Add(time.Duration(l.burst) * l.every)
	if full.After(longest) { // the clock was set back
		full = longest
		l.buckets[id] = full
	}
	if full.Before(now) {
		full = now
	}
	if full = full.Add(l.every); full.After(longest) {
		return false
	}
	if !known && len(l.buckets) >= maxBuckets {
		l.forget(now)
	}
	l.buckets[id] = full
	return true
}

// forget makes room: devices at their burst go, and if there are none, any one.
// Who fills the table thus frees devices from limits that the slots for sending
// still keep.
func (l *limiter) forget(now time.Time) {
	for id, full := range l.buckets {
		if !full.After(now) {
			delete(l.buckets, id)
		}
	}
	if len(l.buckets) < maxBuckets {
		return
	}
	for id := range l.buckets {
		delete(l.buckets, id)
		return
	}
}
