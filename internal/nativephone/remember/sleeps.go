package remember

import (
	"sync"
	"time"
)

// Sleeps notices that the machine has slept, for what is kept elsewhere than in a Memory.
// Safe for concurrent use.
type Sleeps struct {
	// Slept is how long the machine has slept by now; nil asks its clocks.
	Slept func() time.Duration

	mu    sync.Mutex
	begun bool
	seen  time.Duration
}

// Another reports whether the machine has slept since this was called last.
func (s *Sleeps) Another() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Slept == nil {
		s.Slept = slept
	}
	now := s.Slept()
	another := s.begun && now-s.seen > jitter
	s.begun, s.seen = true, now
	return another
}
