package main

import (
	"context"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/notices"
)

// teller shows notifications in place of the agent.
type teller struct {
	*desktop.Notifier

	mu      sync.Mutex
	watcher notices.Watcher
	newest  control.Status
	later   *time.Timer // looks again though nothing has changed
}

// look compares a status with the one before; nil, of an agent that does not answer,
// changes nothing.
func (t *teller) look(ctx context.Context, s *control.Status) {
	if s == nil || ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = *s
	t.nextLocked(ctx)
}

func (t *teller) nextLocked(ctx context.Context) {
	show, withdraw, again := t.watcher.Next(t.newest, time.Now())
	for _, id := range withdraw {
		t.Withdraw(id)
	}
	for _, n := range show {
		t.Notify(n.ID, n.Text)
	}
	if t.later != nil {
		t.later.Stop()
		t.later = nil
	}
	if again > 0 {
		t.later = time.AfterFunc(again, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if ctx.Err() == nil {
				t.nextLocked(ctx)
			}
		})
	}
}
