// Package race tries several ways to connect and keeps the first that works. It
// knows nothing of what is connected to.
package race

import (
	"context"
	"io"
	"time"
)

// Stagger is the head start of each address of one host before the next (RFC 8305
// section 5).
const Stagger = 250 * time.Millisecond

// First calls dial for n ways at once, each with a head start of stagger before the
// next, and returns the first connection with the number of its way. The others are
// cancelled, and have ended when it returns. Without any it returns -1 and why each
// has failed.
func First[T io.Closer](ctx context.Context, n int, stagger time.Duration, dial func(ctx context.Context, way int) (T, error)) (won T, way int, errs []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn T
		way  int
		err  error
	}
	results := make(chan result)
	for i := range n {
		go func() {
			start := time.NewTimer(time.Duration(i) * stagger)
			defer start.Stop()
			select {
			case <-ctx.Done():
				results <- result{way: i, err: ctx.Err()}
			case <-start.C:
				c, err := dial(ctx, i)
				results <- result{c, i, err}
			}
		}()
	}
	way = -1
	for range n { // all of them, so that no goroutine stays
		switch r := <-results; {
		case r.err != nil:
			errs = append(errs, r.err)
		case way >= 0:
			_ = r.conn.Close()
		default:
			won, way = r.conn, r.way
			cancel()
		}
	}
	return won, way, errs
}
