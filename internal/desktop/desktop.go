// Package desktop tells the user something outside of any terminal. What hangs
// or is not there costs nobody anything: nothing waits for it.
package desktop

import (
	"context"
	"log/slog"
	"slices"
	"sync"
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
	log    *slog.Logger
	came   chan struct{} // of capacity 1: something waits

	mu      sync.Mutex
	waiting []change
	named   map[string]bool // what was taken in, and not withdrawn yet
}

// change shows a notification, or takes back the one of that name.
type change struct {
	name, text string
	withdraw   bool
}

// New makes a notifier. A nil screen is the desktop's own.
func New(screen Screen, log *slog.Logger) *Notifier {
	if screen == nil {
		screen = NewOwn()
	}
	return &Notifier{screen: screen, log: log, came: make(chan struct{}, 1), named: map[string]bool{}}
}

// Notify shows the text some time soon. It does not wait. Under a name, "" is none, it can
// be withdrawn.
func (n *Notifier) Notify(name, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) >= maxWaiting {
		return
	}
	if name != "" {
		n.named[name] = true
	}
	n.add(change{name: name, text: text})
}

// Withdraw takes back the notification of that name, where the desktop can. However slow
// that is, it is not forgotten: what has come to an end must not stand there for ever.
func (n *Notifier) Withdraw(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.named[name] {
		return
	}
	delete(n.named, name)
	if i := slices.IndexFunc(n.waiting, func(c change) bool { return c.name == name && !c.withdraw }); i >= 0 {
		n.waiting = slices.Delete(n.waiting, i, i+1)
		return
	}
	n.add(change{name: name, withdraw: true})
}

// add is for who holds the lock.
func (n *Notifier) add(c change) {
	n.waiting = append(n.waiting, c)
	select {
	case n.came <- struct{}{}:
	default:
	}
}

// next is what is to be done now, if something is.
func (n *Notifier) next() (c change, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		return c, false
	}
	c, n.waiting = n.waiting[0], n.waiting[1:]
	return c, true
}

// Run shows what Notify is given until ctx ends, and then takes back what has a name.
func (n *Notifier) Run(ctx context.Context) {
	shown := map[string]uint32{}
	for ctx.Err() == nil {
		if c, ok := n.next(); ok {
			n.show(ctx, shown, c)
			continue
		}
		select {
		case <-ctx.Done():
		case <-n.came:
		}
	}
	for name := range shown {
		n.show(context.WithoutCancel(ctx), shown, change{name: name, withdraw: true})
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
type Own struct{ by map[uint32]string } // which program shows what, by the bus's name of it

// NewOwn makes one.
func NewOwn() *Own { return &Own{by: map[uint32]string{}} }
