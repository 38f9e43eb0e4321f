package waking

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/testkit"
)

// hub is one whose push service takes everything.
type hub struct{}

func (hub) WakePeer(context.Context, device.ID) error { return nil }
func (hub) Status() relay.Status                      { return relay.Status{Connected: true} }

// nothing keeps no document.
type nothing struct{}

func (nothing) Get(string) ([]byte, error) { return nil, nil }
func (nothing) Put(string, []byte) error   { return nil }

// newWaker returns one whose hub can wake the phone.
func newWaker(t *testing.T, phone device.ID) *Waker {
	t.Helper()
	w, err := New(Config{
		Documents: nothing{}, Trust: device.NewTrust(&testkit.Document{}), Window: time.Minute,
		Changed: func() {}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.UseHub(hub{}, "https://hub.example")
	w.hubs[phone] = w.url
	return w
}

// Rests are counted by the wall clock: after hours of sleep the pushes before it do not
// keep the next one back, nor do those of a clock that was set back since.
func TestRestsCountByTheWallClock(t *testing.T) {
	phone := device.ID{1}
	w, now := newWaker(t, phone), time.Now() // with the time that this machine is awake
	may := func(at time.Time) decision { may, _ := w.mayWake(phone, at); return may }
	for range maxWakes {
		may(now)
		w.woke(t.Context(), phone, now, nil)
		now = now.Add(pause)
	}
	for _, at := range w.wakes[phone].times {
		if at != at.Round(0) {
			t.Errorf("%v is kept with the time that this machine is awake", at)
		}
	}
	if got := may(now); got != later {
		t.Errorf("after %d pushes: %v", maxWakes, got)
	}
	if got := may(now.Add(-time.Hour)); got != wakeNow {
		t.Errorf("by a clock that was set back by an hour: %v", got)
	}
	w.woke(t.Context(), phone, now, errors.New("the push service does not answer"))
	if got := may(now.Add(-time.Hour)); got != wakeNow {
		t.Errorf("set back after an attempt that failed: %v", got)
	}
}

// links are those of no phone, or of all.
type links struct{ atomic.Bool }

func (l *links) Connected(device.ID) bool { return l.Load() }

// What a wait ends by is told: nothing is looked at again and again. A phone whose link
// ends is woken at once, one that shows the request is not.
func TestWakingWaitsForEvents(t *testing.T) {
	phone := device.ID{1}
	for name, test := range map[string]struct {
		linked bool
		event  func(w *Waker, r *Request, linked *links)
		after  time.Duration
		woken  bool
	}{
		"no link":              {after: wakeAfter, woken: true},
		"a link that is dead":  {linked: true, after: wakeUnshown, woken: true},
		"the link ends":        {linked: true, event: func(w *Waker, _ *Request, l *links) { l.Store(false); w.Lost() }, after: 2 * time.Second, woken: true},
		"it shows the request": {linked: true, event: func(w *Waker, r *Request, _ *links) { r.Show(phone); w.Seen(phone) }, after: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r, linked := newWaker(t, phone), NewRequest("1", time.Now(), time.Minute), &links{}
				linked.Store(test.linked)
				began := time.Now()
				if test.event != nil {
					time.AfterFunc(2*time.Second, func() { test.event(w, r, linked) })
				}
				r.Expect(1)
				if got := w.Wake(t.Context(), phone, r, linked); got != test.woken || time.Since(began) != test.after || r.Pending() {
					t.Errorf("woken %v after %v", got, time.Since(began))
				}
			})
		})
	}
}

// A phone that was woken for one request is to come yet: the next one does not wake it
// again. Once it has been seen, it is woken when the pause is over.
func TestOneMomentWakesOnce(t *testing.T) {
	phone := device.ID{1}
	synctest.Test(t, func(t *testing.T) {
		w := newWaker(t, phone)
		wake := func() time.Duration {
			began := time.Now()
			if !w.Wake(t.Context(), phone, NewRequest("1", time.Now(), time.Minute), &links{}) {
				t.Error("not woken")
			}
			return time.Since(began)
		}
		wake()
		if took := wake(); took != wakeAfter || len(w.wakes[phone].times) != 1 {
			t.Errorf("a second push, after %v", took)
		}
		w.Seen(phone)
		if took := wake(); took != pause-wakeAfter || len(w.wakes[phone].times) != 2 {
			t.Errorf("no second push, after %v", took)
		}
	})
}
