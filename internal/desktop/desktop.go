// Package desktop tells the user something outside of any terminal. What hangs
// or is not there costs nobody anything: nothing waits for it.
package desktop

import (
	"context"
	"log/slog"
	"time"
)

const (
	// maxWaiting bounds the notifications that wait; more are dropped, since the
	// status has them all.
	maxWaiting  = 8
	showTimeout = 3 * time.Second
	title       = "vmux"
)

// Notifier shows notifications, one after the other.
type Notifier struct {
	show  func(ctx context.Context, title, text string) error
	queue chan string
	log   *slog.Logger
}

// New makes a notifier. A nil show is the desktop's own, Show.
func New(show func(ctx context.Context, title, text string) error, log *slog.Logger) *Notifier {
	if show == nil {
		show = Show
	}
	return &Notifier{show: show, queue: make(chan string, maxWaiting), log: log}
}

// Notify shows the text some time soon. It does not wait.
func (n *Notifier) Notify(text string) {
	select {
	case n.queue <- text:
	default:
	}
}

// Run shows what Notify is given until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-n.queue:
			each, cancel := context.WithTimeout(ctx, showTimeout)
			if err := n.show(each, title, text); err != nil {
				n.log.Debug("desktop notification", "error", err)
			}
			cancel()
		}
	}
}
