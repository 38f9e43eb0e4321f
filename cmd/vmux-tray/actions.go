package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/pairpage"
	"vmux/internal/tray"
)

// patience is longer than a person may take over a certificate.
const patience = 4 * time.Minute

// actions does what is chosen in the menu.
type actions struct {
	agent *control.Client
	log   *slog.Logger
	tell  *desktop.Notifier

	mu         sync.Mutex
	endPairing context.CancelFunc // of the page that is open; nil: none
}

// do does what the line is for, and says so where it fails.
func (a *actions) do(ctx context.Context, l tray.Line) {
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	switch l.Does {
	case tray.Withdraw:
		err = a.agent.Withdraw(asked, l.Of)
	case tray.Copy:
		err = copyText(asked, l.Of)
	case tray.Refresh:
		_, err = a.agent.RefreshKeys(asked)
	case tray.RequestCertificate:
		_, err = a.agent.RequestCertificate(asked, control.CertificateOptions{})
	case tray.Pair:
		err = a.pair(ctx)
	case tray.OpenLog:
		err = openLog(asked)
	}
	if err != nil && ctx.Err() == nil {
		a.say(asked, err)
	}
}

// pair shows the page with the invitation; one that is open is closed before.
func (a *actions) pair(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if a.endPairing != nil {
		a.endPairing()
	}
	a.endPairing = cancel
	a.mu.Unlock()
	_, err := pairpage.Show(ctx, a.agent.Pair, openURL)
	if errors.Is(err, context.Canceled) {
		return nil // another page has taken its place
	}
	return err
}

// say shows a failure and what to do about it, unless the agent has told of it already.
func (a *actions) say(ctx context.Context, err error) {
	a.log.Warn("not done", "error", err)
	if s, failed := a.agent.Status(ctx); failed == nil && s.LastFailure != nil && s.LastFailure.Sentence == err.Error() {
		return
	}
	text := err.Error()
	if hint := hintOf(err); hint != "" {
		text += "\n" + hint
	}
	a.tell.Notify("", text)
}
