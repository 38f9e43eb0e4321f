package remember

import (
	"time"

	"golang.org/x/sys/unix"
)

// slept is how long the machine has slept since it was started: CLOCK_BOOTTIME counts that
// time, and CLOCK_MONOTONIC does not.
func slept() time.Duration {
	var all, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano())
}
