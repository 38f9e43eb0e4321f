package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// reachTimeout is how long phones have to show a request to a person.
	reachTimeout = 25 * time.Second
	// awayTimeout is how long a link may take to come up, where none is up and no
	// phone can be woken.
	awayTimeout = 5 * time.Second
)

// question is one request to a person, put to one or more phones.
type question[T any] struct {
	phones []device.ID
	kind   wire.Kind
	id     string
	body   any
	until  time.Time // end of the window
	window time.Duration
	shown  func() // called when a phone shows it; may be called more than once
	// accept checks an answer. Its error means that this phone cannot help.
	accept func(from device.ID, e wire.Envelope) (T, error)
	// decides tells whether a phone's refusal counts for all. Nil: each does.
	decides func(phone device.ID) bool
}

func (q *question[T]) counts(phone device.ID) bool { return q.decides == nil || q.decides(phone) }

// final reports whether an error is a person's or a policy's decision, after
// which no other phone is asked.
func final(err error) bool {
	switch wire.CodeOf(err) {
	case wire.CodeUserDenied, wire.CodePolicyDenied, wire.CodePaused, wire.CodeMuted, wire.CodeAuthenticationFailed:
		return true
	}
	return false
}

// verdict is what one phone said.
type verdict[T any] struct {
	phone device.ID
	value T
	err   error
}

// ask puts the question to all its phones, also to those that connect
// meanwhile. The first decision of a phone that decides is final, and withdraws it
// from the others. It fails with CodePhoneNotReachable when nobody shows it within reachTimeout,
// with CodeRequestExpired at the end of the window, and with ctx's cause.
func ask[T any](ctx context.Context, a *Agent, q question[T]) (T, device.ID, error) {
	ctx, cancel := untilWall(ctx, q.until)
	defer cancel()
	near := a.connected(q.phones)
	if len(near) == 0 {
		a.node.Wake()
	}
	var shown seen
	var rung atomic.Bool
	verdicts := make(chan verdict[T], len(q.phones))
	var asked sync.WaitGroup
	for _, phone := range q.phones {
		asked.Go(func() {
			e, err := a.node.Ask(ctx, phone, q.kind, q.id, q.body, func() { shown.add(phone); q.shown() })
			v := verdict[T]{phone: phone, err: err}
			if err == nil {
				v.value, v.err = q.accept(phone, e)
			}
			verdicts <- v
		})
	}
	asked.Go(func() { rung.Store(a.ring(ctx, q.phones, q.id, &shown)) })
	value, phone, err := q.await(ctx, verdicts, near, &shown, func() time.Duration { return a.patience(q.phones) })
	cancel() // withdraws it from the others
	asked.Wait()
	if rung.Load() && wire.CodeOf(err) == wire.CodePhoneNotReachable {
		err = errRung()
	}
	if wire.CodeOf(err) == wire.CodePhoneNotReachable {
		err = a.orHubAway(err)
	}
	return value, phone, err
}

// lookAtWindow is how often the wall clock is compared with a window's end.
const lookAtWindow = time.Second

// untilWall ends at that time of the wall clock, by which the phone and the
// status count as well. A deadline alone counts the time that this machine is
// awake: after a suspend the window would be open for longer.
func untilWall(ctx context.Context, end time.Time) (context.Context, context.CancelFunc) {
	end = end.Round(0)
	ctx, cancel := context.WithDeadline(ctx, end)
	ctx, ended := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		look := time.NewTicker(lookAtWindow)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-look.C:
				if !now.Round(0).Before(end) {
					ended(context.DeadlineExceeded)
				}
			}
		}
	}()
	return ctx, func() { ended(nil); cancel(); <-watched }
}

// patience is how long phones have, from the request on, to show it.
func (a *Agent) patience(phones []device.ID) time.Duration {
	if len(a.connected(phones)) > 0 {
		return reachTimeout
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(phones, a.canRingLocked) {
		return reachTimeout
	}
	return awayTimeout
}

// await returns the first decision, or why there is none. patience is asked again
// when it is over: a phone may have come meanwhile.
func (q *question[T]) await(ctx context.Context, verdicts <-chan verdict[T], near map[device.ID]bool, shown *seen, patience func() time.Duration) (T, device.ID, error) {
	var none T
	var firstErr error
	began := time.Now()
	reach := time.NewTimer(patience())
	defer reach.Stop()
	hadNear, left := len(near) > 0, len(q.phones)
	answered := map[device.ID]bool{}
	counted, late := false, false
	for left > 0 {
		select {
		case v := <-verdicts:
			if ctx.Err() != nil && v.err != nil {
				return none, v.phone, q.ended(ctx)
			}
			counts := q.counts(v.phone)
			if v.err == nil || final(v.err) && counts {
				return v.value, v.phone, v.err
			}
			left--
			delete(near, v.phone)
			answered[v.phone] = true
			if firstErr == nil || counts && !counted {
				firstErr = v.err
			}
			counted = counted || counts
			switch {
			case shown.beside(answered):
			case hadNear && len(near) == 0 && counted:
				left = 0 // those that could be asked cannot help
			case late:
				reach.Reset(0)
			}
		case <-reach.C:
			if shown.beside(answered) {
				late = true
				continue
			}
			left := patience() - time.Since(began)
			if left <= 0 {
				return none, device.ID{}, wire.NewError(wire.CodePhoneNotReachable)
			}
			reach.Reset(left)
		case <-ctx.Done():
			return none, device.ID{}, q.ended(ctx)
		}
	}
	if firstErr == nil {
		firstErr = wire.NewError(wire.CodePhoneNotReachable)
	}
	return none, device.ID{}, firstErr
}

// ended says why there was no answer.
func (q *question[T]) ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return noAnswer(q.window)
	}
	return context.Cause(ctx)
}

// refusal is a phone's answer for the user. A phone whose window ends a moment
// before this computer's says so in the words for the usual window.
func (a *Agent) refusal(e *wire.Error) error {
	if e.Code == wire.CodePaused || e.Code == wire.CodeMuted {
		hint := strings.ReplaceAll(wire.MeaningOf(e.Code).Hint, "COMPUTER", a.self.Short())
		return control.Errorf(e.Code, hint, "%s", e.Error())
	}
	if e.Code == wire.CodeRequestExpired && e.Error() == wire.MeaningOf(e.Code).Sentence {
		return noAnswer(a.cfg.ApprovalTimeout)
	}
	return e
}

func noAnswer(window time.Duration) error {
	return wire.Errorf(wire.CodeRequestExpired, "No answer within %s.", seconds(window))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }

// connected returns which of the phones have a link.
func (a *Agent) connected(phones []device.ID) map[device.ID]bool {
	near := map[device.ID]bool{}
	for _, id := range phones {
		if a.node.Connected(id) {
			near[id] = true
		}
	}
	return near
}

// asking is the head of a request that begins now.
func (a *Agent) asking(now time.Time) wire.Asking {
	return wire.NewAsking(a.self.String(), a.cfg.Name, now, a.cfg.ApprovalTimeout)
}
