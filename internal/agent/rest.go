package agent

import (
	"context"
	"runtime/debug"
	"time"
)

// restAfter is how long no SSH client is connected before the agent gives memory
// back. It is long, since to give it back and to take it again costs a login more
// than its signature does.
const restAfter = 10 * time.Second

// rest gives the memory of a busy time back to the system, once clients have come
// and gone: an agent sits there all day, and the runtime by itself keeps what the
// busiest second took. Where the garbage collector had nothing to do by itself
// there is little to give, and it would take more. Left is told that no client is
// connected. It returns when ctx ends.
func rest(ctx context.Context, left <-chan struct{}) {
	timer := time.NewTimer(restAfter)
	defer timer.Stop()
	var before int64
	for {
		select {
		case <-left:
			timer.Reset(restAfter)
		case <-timer.C:
			if collections() != before {
				debug.FreeOSMemory()
				before = collections()
			}
		case <-ctx.Done():
			return
		}
	}
}

// collections is how often the garbage collector has run.
func collections() int64 {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return stats.NumGC
}
