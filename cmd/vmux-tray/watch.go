package main

import (
	"context"
	"log/slog"
	"time"

	"vmux/internal/control"
)

// How soon an agent is looked for that was not there: each time twice as late.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// watch tells show of each status, and of nil when no agent answers any more, until ctx
// ends.
func watch(ctx context.Context, agent *control.Client, log *slog.Logger, show func(*control.Status)) {
	retry := firstRetry
	for ctx.Err() == nil {
		err := agent.WatchAndNotify(ctx, func(s control.Status) error {
			retry = firstRetry
			show(&s)
			return nil
		})
		if retry == firstRetry && ctx.Err() == nil {
			log.Info("the agent does not answer", "error", err)
			show(nil)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}
