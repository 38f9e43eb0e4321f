package terminal

import (
	"context"
	"slices"
	"sync"
	"time"
)

// handOff is how long the screen stays with a request after an approval, for
// the passphrase that is asked next: no other sheet comes between, and what is
// typed already does not appear on the screen.
const handOff = time.Second

// rank is how urgent a question is.
type rank int

const (
	first  rank = iota // a passphrase of what is approved already
	inTurn             // a request
	last               // what can wait for all requests
)

// screen is what one person looks at: it belongs to one question at a time.
// Those who wait get it by their rank, and in order.
type screen struct {
	enter  func() error   // called when the first one takes the screen
	leave  func()         // called when nobody has it any more
	ending sync.WaitGroup // of hand-offs

	mu      sync.Mutex
	held    bool
	kept    *time.Timer // of a hand-off; nil if there is none
	waiting []*turn
}

type turn struct {
	rank rank
	come chan struct{} // closed when it is this one's turn
}

// take waits for the screen until ctx ends.
func (s *screen) take(ctx context.Context, r rank) error {
	s.mu.Lock()
	if r == first && s.kept != nil && s.kept.Stop() {
		s.ending.Done()
		s.kept = nil
		s.mu.Unlock()
		return nil
	}
	if !s.held {
		defer s.mu.Unlock()
		if err := s.enter(); err != nil {
			return err
		}
		s.held = true
		return nil
	}
	t := &turn{rank: r, come: make(chan struct{})}
	at := slices.IndexFunc(s.waiting, func(other *turn) bool { return other.rank > r || r == first })
	if at < 0 {
		at = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, at, t)
	s.mu.Unlock()
	select {
	case <-t.come:
		if err := ctx.Err(); err != nil { // both have come: there is nothing to show
			s.give()
			return err
		}
		return nil
	case <-ctx.Done():
		s.forget(t)
		return ctx.Err()
	}
}

// forget gives up a turn, or passes it on if it has come just now.
func (s *screen) forget(t *turn) {
	s.mu.Lock()
	i := slices.Index(s.waiting, t)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		s.give()
	}
}

// give passes the screen on to the next.
func (s *screen) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = nil
	if len(s.waiting) == 0 {
		s.held = false
		s.leave()
		return
	}
	next := s.waiting[0]
	s.waiting = s.waiting[1:]
	close(next.come)
}

// giveAfter passes the screen on unless a passphrase takes it within handOff; it
// calls unused before.
func (s *screen) giveAfter(unused func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 && s.waiting[0].rank == first {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		close(next.come)
		return
	}
	s.ending.Add(1)
	s.kept = time.AfterFunc(handOff, func() {
		defer s.ending.Done()
		unused()
		s.give()
	})
}

// close ends a hand-off that is under way.
func (s *screen) close() {
	s.mu.Lock()
	stopped := s.kept != nil && s.kept.Stop()
	s.mu.Unlock()
	if stopped {
		s.ending.Done()
		s.give()
	}
	s.ending.Wait()
}

// others counts the requests that wait for a first look.
func (s *screen) others() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.waiting, func(t *turn) bool { return t.rank == last })
	if n < 0 {
		n = len(s.waiting)
	}
	return n
}
