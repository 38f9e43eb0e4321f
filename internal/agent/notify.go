package agent

import (
	"context"
	"time"
)

const (
	// maxNotices bounds the notices that wait; more are dropped, since the
	// status has them all.
	maxNotices    = 8
	noticeTimeout = 3 * time.Second
	noticeTitle   = "vmux"
)

type notice string

// notify tells the user outside of any terminal, some time soon.
func (a *Agent) notify(text string) {
	select {
	case a.notices <- notice(text):
	default:
	}
}

// tellNotices shows notices until ctx ends. A desktop that hangs or is not
// there costs nobody anything.
func (a *Agent) tellNotices(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-a.notices:
			each, cancel := context.WithTimeout(ctx, noticeTimeout)
			if err := a.cfg.Notify(each, noticeTitle, string(n)); err != nil {
				a.log.Debug("desktop notification", "error", err)
			}
			cancel()
		}
	}
}
