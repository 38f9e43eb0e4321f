package desktop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A desktop that hangs holds up nobody, and keeps neither later notifications nor
// the end of the agent waiting for longer than its time.
func TestDesktopThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []string
		n := New(func(ctx context.Context, _, text string) error {
			shown = append(shown, text)
			if text == "0" {
				<-ctx.Done()
				return ctx.Err()
			}
			return errors.New("nobody shows it")
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.Run(ctx) }()
		start := time.Now()
		n.Notify("0")
		synctest.Wait()
		for i := range 2 * maxWaiting { // more are dropped
			n.Notify(fmt.Sprint(i + 1))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
		time.Sleep(showTimeout)
		synctest.Wait()
		if len(shown) != 1+maxWaiting || shown[maxWaiting] != fmt.Sprint(maxWaiting) {
			t.Errorf("shown %q", shown)
		}
		n.Notify("0")
		synctest.Wait()
		cancel()
		<-ended
		if took := time.Since(start); took != showTimeout {
			t.Errorf("ended after %v", took)
		}
	})
}
