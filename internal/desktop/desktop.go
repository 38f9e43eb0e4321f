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

// Screen shows notifications. Its calls come one after the other, each with a ctx of a
// few seconds.
type Screen interface {
	// Show returns an ID, 0 where there is none.
	Show(ctx context.Context, title, text string) (id uint32, err error)
	Close(ctx context.Context, id uint32) error
}

// Notifier shows notifications, one after the other.
type Notifier struct {
	screen Screen
	queue  chan change
	log    *slog.Logger
}

// change shows a notification, or takes back the one of that name.
type change struct {
	name, text string
	withdraw   bool
}

// New makes a notifier. A nil screen is the desktop's own.
func New(screen Screen, log *slog.Logger) *Notifier {
	if screen == nil {
		screen = Own{}
	}
	return &Notifier{screen: screen, queue: make(chan change, maxWaiting), log: log}
}

// Notify shows the text some time soon. It does not wait. Under a name, "" is none, it can
// be withdrawn.
func (n *Notifier) Notify(name, text string) { n.add(change{name: name, text: text}) }

// Withdraw takes back the notification of that name, where the desktop can.
func (n *Notifier) Withdraw(name string) { n.add(change{name: name, withdraw: true}) }

func (n *Notifier) add(c change) {
	select {
	case n.queue <- c:
	default:
	}
}

// Run shows what Notify is given until ctx ends, and then takes back what has a name.
func (n *Notifier) Run(ctx context.Context) {
	shown := map[string]uint32{}
	for {
		select {
		case <-ctx.Done():
			for name := range shown {
				n.show(context.WithoutCancel(ctx), shown, change{name: name, withdraw: true})
			}
			return
		case c := <-n.queue:
			n.show(ctx, shown, c)
		}
	}
}

func (n *Notifier) show(ctx context.Context, shown map[string]uint32, c change) {
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	var err error
	if c.withdraw {
		if id := shown[c.name]; id != 0 {
			err = n.screen.Close(ctx, id)
		}
		delete(shown, c.name)
	} else {
		var id uint32
		if id, err = n.screen.Show(ctx, title, c.text); id != 0 && c.name != "" {
			shown[c.name] = id
		}
	}
	if err != nil {
		n.log.Debug("desktop notification", "error", err)
	}
}

// Own is the desktop's own screen.
type Own struct{}

// None shows nothing.
type None struct{}

// Show implements Screen.
func (None) Show(context.Context, string, string) (uint32, error) { return 0, nil }

// Close implements Screen.
func (None) Close(context.Context, uint32) error { return nil }
