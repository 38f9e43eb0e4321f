package desktop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// screen is a Screen of functions.
type screen struct {
	show  func(ctx context.Context, text string) (uint32, error)
	close func(id uint32)
}

func (s screen) Show(ctx context.Context, _, text string) (uint32, error) { return s.show(ctx, text) }
func (s screen) Close(_ context.Context, id uint32) error                 { s.close(id); return nil }

// What has a name is taken back once, at the latest at the end; the rest stays.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed []uint32
		id := uint32(0)
		n := New(screen{
			func(context.Context, string) (uint32, error) { id++; return id, nil },
			func(id uint32) { closed = append(closed, id) },
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.Run(ctx) }()
		n.Notify("", "stays")
		n.Notify("first", "waits")
		n.Notify("second", "waits")
		synctest.Wait()
		n.Withdraw("first")
		n.Withdraw("first")
		n.Withdraw("unknown")
		synctest.Wait()
		if !slices.Equal(closed, []uint32{2}) {
			t.Errorf("closed %v", closed)
		}
		cancel()
		<-ended
		if !slices.Equal(closed, []uint32{2, 3}) {
			t.Errorf("closed %v at the end", closed)
		}
	})
}

// A computer asks for many things while the desktop is slow: what has been answered meanwhile
// is not shown at all, and nothing that was shown stays when it is over.
func TestWithdrawFromASlowDesktop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shown := map[uint32]bool{}
		id := uint32(0)
		n := New(screen{
			func(context.Context, string) (uint32, error) {
				time.Sleep(showTimeout / 2)
				id++
				shown[id] = true
				return id, nil
			},
			func(id uint32) { time.Sleep(showTimeout / 2); delete(shown, id) },
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.Run(ctx) }()
		notify := func(name string, all int) {
			for i := range all {
				n.Notify(fmt.Sprint(name, i), "waits")
			}
		}
		notify("first", maxWaiting)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(shown) != maxWaiting {
			t.Fatalf("%d are shown", len(shown))
		}
		notify("second", maxWaiting)
		for _, name := range []string{"first", "second"} {
			for i := range maxWaiting {
				n.Withdraw(fmt.Sprint(name, i))
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(shown) != 0 || id > maxWaiting+1 {
			t.Errorf("%d stay, %d were shown", len(shown), id)
		}
		cancel()
		<-ended
	})
}

// A desktop that hangs holds up nobody, and keeps neither later notifications nor
// the end of the agent waiting for longer than its time.
func TestDesktopThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []string
		n := New(screen{func(ctx context.Context, text string) (uint32, error) {
			shown = append(shown, text)
			if text == "0" {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return 0, errors.New("nobody shows it")
		}, nil}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.Run(ctx) }()
		start := time.Now()
		n.Notify("", "0")
		synctest.Wait()
		for i := range 2 * maxWaiting { // more are dropped
			n.Notify("", fmt.Sprint(i+1))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
		time.Sleep(showTimeout)
		synctest.Wait()
		if len(shown) != 1+maxWaiting || shown[maxWaiting] != fmt.Sprint(maxWaiting) {
			t.Errorf("shown %q", shown)
		}
		n.Notify("", "0")
		synctest.Wait()
		cancel()
		<-ended
		if took := time.Since(start); took != showTimeout {
			t.Errorf("ended after %v", took)
		}
	})
}
