package client

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxReading is how long a login waits for files of the user's to be read, which
// may stand on a disk or a network that does not answer.
const maxReading = 50 * time.Millisecond

// Files are the user's, as far as they tell of logins. While anything still reads
// after its time nothing else begins, so that a disk that does not answer costs
// neither time nor memory.
type Files struct {
	// KnownHosts are looked in besides those that ssh is told to use.
	KnownHosts []string

	late atomic.Int32 // how many still read after their time
}

// Reading is one that has begun.
type Reading[T any] struct {
	of                *Files
	result, otherwise T
	done              chan struct{} // closed when result is there
	late              sync.Once
}

// Known is a reading that has ended, with that result.
func Known[T any](result T) *Reading[T] {
	done := make(chan struct{})
	close(done)
	return &Reading[T]{result: result, done: done}
}

// begin reads while something else goes on. Somebody has to wait for it.
func begin[T any](f *Files, otherwise T, read func() T) *Reading[T] {
	if f.late.Load() > 0 {
		return Known(otherwise)
	}
	x := &Reading[T]{of: f, otherwise: otherwise, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.result = read()
	}()
	return x
}

// Wait returns what was read, or what it was to be otherwise if that takes too long
// from now on. It can be called more than once.
func (x *Reading[T]) Wait() T {
	select {
	case <-x.done:
		return x.result
	case <-time.After(maxReading):
	}
	select {
	case <-x.done: // both, on a busy computer
		return x.result
	default:
	}
	x.late.Do(func() {
		x.of.late.Add(1)
		go func() {
			<-x.done
			x.of.late.Add(-1)
		}()
	})
	return x.otherwise
}
