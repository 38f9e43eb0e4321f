//go:build !linux

package remember

import "time"

var started = time.Now()

// slept is by how much the wall clock has gone ahead of the one that stands still while the
// machine sleeps. A wall clock that is set looks the same.
func slept() time.Duration { return time.Since(started.Round(0)) - time.Since(started) }
