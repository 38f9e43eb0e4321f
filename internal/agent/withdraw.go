package agent

import (
	"context"
	"sync"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// errWithdrawn ends a request that the user has withdrawn on this computer. To the
// login it is a denial: its other keys are not asked for either.
var errWithdrawn = control.Errorf(wire.CodeUserDenied, "", control.SentenceWithdrawn)

// withdrawals are the requests that wait for a person, each with what ends it.
type withdrawals struct {
	mu      sync.Mutex
	waiting map[string]context.CancelCauseFunc // by their IDs
}

// add returns a ctx that ends when the request is withdrawn. The caller calls done
// when it waits no more.
func (w *withdrawals) add(ctx context.Context, requestID string) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]context.CancelCauseFunc{}
	}
	w.waiting[requestID] = cancel
	return ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, requestID)
		cancel(nil)
	}
}

// Withdraw implements control.Service.
func (a *Agent) Withdraw(requestID string) error {
	a.withdrawals.mu.Lock()
	defer a.withdrawals.mu.Unlock()
	cancel, waits := a.withdrawals.waiting[requestID]
	if !waits {
		return control.Errorf(control.CodeNotWaiting, "see `vmux status`", "That request does not wait any more.")
	}
	a.log.Info("withdrawn by the user", "request", requestID)
	cancel(errWithdrawn)
	return nil
}
