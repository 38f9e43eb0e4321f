package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/agent/waking"
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
	asking wire.Asking // the first one
	// body is the request by that head: a phone that had to be woken is asked anew,
	// with a window of its own.
	body  func(wire.Asking) any
	shown func() // called when a phone shows it; may be called more than once
	// accept checks an answer to that head. Its error means that this phone cannot
	// help.
	accept func(from device.ID, e wire.Envelope, asked wire.Asking) (T, error)
	// decides tells whether a phone's refusal counts for all. Nil: each does.
	decides func(phone device.ID) bool
}

// verdict is what one phone said.
type verdict[T any] struct {
	phone device.ID
	value T
	err   error
}

// ask puts the question to all its phones, also to those that connect
// meanwhile. The first decision of a phone that decides is final, and withdraws it
// from the others. It fails with CodePhoneNotReachable when nobody shows it in
// time, with CodeRequestExpired at the end of the window, with errWithdrawn, and with
// ctx's cause.
func ask[T any](ctx context.Context, a *Agent, q question[T]) (T, device.ID, error) {
	ctx, done := a.withdrawals.add(ctx, q.asking.RequestID)
	defer done()
	r := waking.NewRequest(q.asking.RequestID, time.Now(), a.cfg.ApprovalTimeout)
	ctx, cancel := r.Context(ctx)
	defer cancel()
	connected := a.connected(q.phones)
	if len(connected) == 0 {
		a.node.Wake()
	}
	verdicts := make(chan verdict[T], len(q.phones))
	wakeable := a.waker.Wakeable(q.phones)
	r.Expect(len(wakeable))
	var asked sync.WaitGroup
	for _, phone := range q.phones {
		woken := make(chan struct{})
		asked.Go(func() { verdicts <- q.put(ctx, a, phone, r, woken) })
		if slices.Contains(wakeable, phone) {
			asked.Go(func() {
				if a.waker.Wake(ctx, phone, r, a.node) {
					a.woken(r)
					close(woken)
				}
			})
		}
	}
	value, phone, err := q.await(ctx, verdicts, connected, r, func() time.Duration { return a.showTimeout(q.phones, r) })
	cancel() // withdraws it from the others
	asked.Wait()
	err = r.Explain(err)
	if wire.CodeOf(err) == wire.CodePhoneNotReachable {
		err = a.orHubAway(err)
	}
	return value, phone, err
}

// errAnew is why a request is withdrawn that is asked anew.
var errAnew = errors.New("asked anew")

// put asks one phone. A phone that was woken is asked anew with the window that
// it has then: where the first request could not be sent before, at once; where
// it was sent and slept in a page that its system had frozen, when the phone says
// that the window of it is over.
func (q *question[T]) put(ctx context.Context, a *Agent, phone device.ID, r *waking.Request, woken <-chan struct{}) verdict[T] {
	asking, again := q.asking, 0
	for {
		once, stop := context.WithCancelCause(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			select {
			case <-woken:
				if !a.node.Connected(phone) && !r.ShownBy(phone) {
					stop(errAnew)
				}
			case <-once.Done():
			}
		}()
		e, err := a.node.Ask(once, phone, q.kind, asking.RequestID, q.body(asking), func() { r.Show(phone); a.waker.Seen(phone); q.shown() })
		stop(nil)
		<-watched
		v := verdict[T]{phone: phone, err: err}
		if err == nil {
			v.value, v.err = q.accept(phone, e, asking)
		}
		late := wire.CodeOf(v.err) == wire.CodeRequestExpired && isClosed(woken) && !r.ShownBy(phone)
		if again > 1 || ctx.Err() != nil || !late && !errors.Is(err, errAnew) {
			return v
		}
		if errors.Is(err, errAnew) {
			woken = nil // once is enough
		}
		again++
		now := time.Now()
		until, _ := r.Window()
		asking = wire.NewAsking(asking.SourceDeviceID, asking.SourceDeviceName, now, max(until.Sub(now.Round(0)), time.Second))
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return c == nil
	}
}

// showTimeout is how long phones have, from the request on, to show it.
func (a *Agent) showTimeout(phones []device.ID, r *waking.Request) time.Duration {
	if r.Woken() || r.Pending() && a.hub.Status().Connected {
		return wire.MaxWindow + a.cfg.ApprovalTimeout // until the window's end
	}
	if len(a.connected(phones)) > 0 || len(a.waker.Wakeable(phones)) > 0 {
		return reachTimeout
	}
	return awayTimeout
}

// await returns the first decision, or why there is none. timeout is asked again
// when it is over, since a phone may have come meanwhile, and when the window
// has changed.
func (q *question[T]) await(ctx context.Context, verdicts <-chan verdict[T], connected map[device.ID]bool, r *waking.Request, timeout func() time.Duration) (T, device.ID, error) {
	var none T
	var firstErr error
	began := time.Now()
	reach := time.NewTimer(timeout())
	defer reach.Stop()
	hadLink, left := len(connected) > 0, len(q.phones)
	answered := map[device.ID]bool{}
	counted, late := false, false
	for left > 0 {
		select {
		case v := <-verdicts:
			if ctx.Err() != nil && v.err != nil {
				return none, v.phone, ended(ctx, r)
			}
			counts := q.decides == nil || q.decides(v.phone)
			if v.err == nil || wire.IsDecision(v.err) && counts {
				return v.value, v.phone, v.err
			}
			left--
			delete(connected, v.phone)
			answered[v.phone] = true
			if firstErr == nil || counts && !counted {
				firstErr = v.err
			}
			counted = counted || counts
			switch {
			case r.ShownBeside(answered):
			case wire.CodeOf(v.err) == wire.CodeRequestExpired && r.Woken():
			case hadLink && len(connected) == 0 && counted:
				left = 0 // those that could be asked cannot help
			case late:
				reach.Reset(0)
			}
		case <-r.Changed():
			reach.Reset(max(0, timeout()-time.Since(began)))
		case <-reach.C:
			if r.ShownBeside(answered) {
				late = true
				continue
			}
			left := timeout() - time.Since(began)
			if left <= 0 {
				return none, device.ID{}, wire.NewError(wire.CodePhoneNotReachable)
			}
			reach.Reset(left)
		case <-ctx.Done():
			return none, device.ID{}, ended(ctx, r)
		}
	}
	if firstErr == nil {
		firstErr = wire.NewError(wire.CodePhoneNotReachable)
	}
	return none, device.ID{}, firstErr
}

// ended says why there was no answer.
func ended(ctx context.Context, r *waking.Request) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		_, length := r.Window()
		return noAnswer(length)
	}
	return context.Cause(ctx)
}

// refusal is a phone's answer for the user. A phone whose window ends a moment
// before this computer's says so in the words for the usual window.
func (a *Agent) refusal(e *wire.Error, asked wire.Asking) error {
	if e.Code == wire.CodePaused || e.Code == wire.CodeMuted {
		hint := strings.ReplaceAll(wire.MeaningOf(e.Code).Hint, "COMPUTER", a.self.Short())
		return control.Errorf(e.Code, hint, "%s", e.Error())
	}
	if e.Code == wire.CodeRequestExpired && strings.HasPrefix(e.Error(), clocksDiffer) {
		return control.Errorf(e.Code, hintClocks, "%s", e.Error()) // looking at the phone would not help
	}
	if e.Code == wire.CodeRequestExpired && e.Error() == wire.MeaningOf(e.Code).Sentence {
		return noAnswer(time.Duration(asked.ExpiresAtMilliseconds-asked.IssuedAtMilliseconds) * time.Millisecond)
	}
	return e
}

// clocksDiffer begins what a phone says to a request from outside its window.
const (
	clocksDiffer = "Clocks differ "
	hintClocks   = "set both clocks by the network: `timedatectl set-ntp true` on this computer, automatic date and time on the phone"
)

func noAnswer(window time.Duration) error {
	return wire.Errorf(wire.CodeRequestExpired, "No answer within %.0f s.", window.Seconds())
}

// connected returns which of the phones have a link.
func (a *Agent) connected(phones []device.ID) map[device.ID]bool {
	connected := map[device.ID]bool{}
	for _, id := range phones {
		if a.node.Connected(id) {
			connected[id] = true
		}
	}
	return connected
}

// asking is the head of a request that begins now.
func (a *Agent) asking(now time.Time) wire.Asking {
	return wire.NewAsking(a.self.String(), a.cfg.Name, now, a.cfg.ApprovalTimeout)
}

// shown notes that a phone shows the request.
func (a *Agent) shown(requestID string) {
	a.journal.Update(requestID, func(r *control.Request) { r.Shown = true })
}

// woken notes that a phone was woken for the request, whose window has begun anew.
func (a *Agent) woken(request *waking.Request) {
	a.journal.Update(request.ID(), func(r *control.Request) {
		r.Woken = true
		r.Until, _ = request.Window()
	})
}
