package nativephone

import (
	"os"
	"strings"
	"sync"
	"time"
)

// localtime says which time zone the machine is in, where the variable TZ does not.
const localtime = "/etc/localtime"

// clock is the time where the phone is. Go reads the zone once, and a phone runs for weeks: the
// hours of a key are those of its person, also after a journey.
type clock struct {
	path string // of the zone; empty: it is for good

	mu   sync.Mutex
	read os.FileInfo    // of what the zone was read from
	zone *time.Location // nil: the one that Go has read
}

func newClock() *clock {
	if tz, set := os.LookupEnv("TZ"); set && strings.TrimPrefix(tz, ":") != localtime {
		return &clock{}
	}
	info, _ := os.Stat(localtime) // nil: it is UTC
	return &clock{path: localtime, read: info}
}

// now is by the zone that the machine is in now, or if that cannot be read by the last one.
func (c *clock) now() time.Time {
	now := time.Now()
	info, err := os.Stat(c.path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && (c.read == nil || !os.SameFile(info, c.read) || !info.ModTime().Equal(c.read.ModTime())) {
		if data, err := os.ReadFile(c.path); err == nil {
			if zone, err := time.LoadLocationFromTZData("Local", data); err == nil {
				c.read, c.zone = info, zone
			}
		}
	}
	if c.zone == nil {
		return now
	}
	return now.In(c.zone)
}
