package agent

import (
	"context"
	"sync"
)

// tasks are goroutines that the agent starts for events; wait ends them.
type tasks struct {
	mu   sync.Mutex
	ctx  context.Context
	wg   sync.WaitGroup
	over bool
}

func (t *tasks) start(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx = ctx
}

// run runs f in a goroutine and returns true; before start and after wait it
// does nothing and returns false.
func (t *tasks) run(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.ctx == nil || t.ctx.Err() != nil {
		return false
	}
	ctx := t.ctx
	t.wg.Go(func() { f(ctx) })
	return true
}

// wait returns when all have ended; the context must have ended.
func (t *tasks) wait() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.wg.Wait()
}
