package push

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"vmux/internal/device"
)

// How often. A phone that was woken has seconds to come; waking it faster only
// annoys its owner and spends what its push service allows the hub.
const (
	wakingBurst, wakingEvery       = 10, 5 * time.Second  // by one waking device
	wokenBurst, wokenEvery         = 5, 10 * time.Second  // of one woken device
	subscribeBurst, subscribeEvery = 10, 30 * time.Second // changes of one device's subscription

	// maxBuckets bounds the memory of one limiter.
	maxBuckets = 20_000
)

// limiter lets each device do something burst times at once, and then once in
// every period.
type limiter struct {
	every time.Duration
	burst int

	mu      sync.Mutex
	buckets map[device.ID]*rate.Limiter
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every, buckets: map[device.ID]*rate.Limiter{}}
}

// take reports whether the device may, now, and counts it if so.
func (l *limiter) take(id device.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[id]
	if bucket == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		bucket = rate.NewLimiter(rate.Every(l.every), l.burst)
		l.buckets[id] = bucket
	}
	return bucket.AllowN(now, 1)
}

// forget makes room: devices at their burst go, and if there are none, any one.
// Who fills the table thus frees devices from limits that the slots for sending
// still keep.
func (l *limiter) forget(now time.Time) {
	maps.DeleteFunc(l.buckets, func(_ device.ID, bucket *rate.Limiter) bool {
		return bucket.TokensAt(now) >= float64(l.burst)
	})
	if len(l.buckets) < maxBuckets {
		return
	}
	for id := range l.buckets {
		delete(l.buckets, id)
		return
	}
}
