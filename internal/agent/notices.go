package agent

import (
	"context"
	"time"

	"vmux/internal/control"
	"vmux/internal/notices"
)

// calm is how long the agent waits after a change before it looks what to tell: a status
// is not made for each of a hundred logins.
const calm = 100 * time.Millisecond

// Notifies implements control.Service.
func (a *Agent) Notifies() (done func()) {
	a.notifying.Add(1)
	a.journal.Change() // so that what waits is told of there alone
	return func() { a.notifying.Add(-1) }
}

// notify tells the user outside of any terminal, while no client does.
func (a *Agent) notify(ctx context.Context) {
	for w := (notices.Watcher{}); ; {
		changed, s := a.Changed(), a.noticed()
		show, withdraw, again := w.Next(s, time.Now())
		if a.notifying.Load() > 0 {
			show = nil
			for _, r := range s.Waiting {
				withdraw = append(withdraw, r.RequestID)
			}
		}
		for _, id := range withdraw {
			a.desktop.Withdraw(id)
		}
		for _, n := range show {
			a.desktop.Notify(n.ID, n.Text)
		}
		timer := time.NewTimer(again)
		due := timer.C
		if again == 0 {
			due = nil
		}
		select {
		case <-ctx.Done():
		case <-due:
		case <-changed:
			timer.Reset(calm)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// noticed is what of the status notices are made of: the rest, which may have to be asked
// for, is not wanted at every change.
func (a *Agent) noticed() control.Status {
	s := control.Status{
		Certificate: a.ShowCertificate(), Phones: a.devices(a.node.Peers()),
		StartedAt: a.started.Round(0), Notifications: a.wantedNotices(),
	}
	a.journal.Fill(&s)
	return s
}

func (a *Agent) wantedNotices() []string {
	kinds := []string{}
	for _, k := range a.cfg.Notifications {
		kinds = append(kinds, string(k))
	}
	return kinds
}
