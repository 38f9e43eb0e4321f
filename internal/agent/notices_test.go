package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/desktop"
	"vmux/internal/notices"
)

// screen keeps what a desktop was asked to do.
type screen struct {
	mu   sync.Mutex
	done []string
}

func (s *screen) Show(_ context.Context, _, text string) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, text)
	return uint32(len(s.done)), nil
}

func (s *screen) Close(_ context.Context, id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, fmt.Sprint("close ", id))
	return nil
}

func (s *screen) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.done
	s.done = nil
	return done
}

// The agent tells of what waits, and of how it ended in its place; while a client tells,
// it tells nothing, and takes back what it has told.
func TestNotifications(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, silent)
		w.connect(p)
		synctest.Wait()
		s := &screen{}
		w.cfg.Notifications, w.desktop = notices.Kinds, desktop.New(s, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.notify(ctx) })
		running.Go(func() { w.desktop.Run(ctx) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()

		login := 0
		ask := func() (end func()) {
			login++
			result := make(chan error, 1)
			go func() {
				_, err := w.Sign(context.Background(), request(key, fmt.Sprint("session ", login)))
				result <- err
			}()
			time.Sleep(time.Second)
			return func() {
				if err := <-result; err == nil {
					t.Error("signed")
				}
				time.Sleep(time.Second)
			}
		}
		check := func(want ...string) {
			t.Helper()
			if got := s.taken(); !slices.Equal(got, want) {
				t.Errorf("the desktop was asked for %q, want %q", got, want)
			}
		}
		end := ask()
		check("Approve on the phone: mine: login as root")
		end()
		check("close 1", "mine: login as root: No answer within 60 s.")

		end = ask()
		check("Approve on the phone: mine: login as root")
		done := w.Notifies()
		time.Sleep(time.Second)
		check("close 1")
		end()
		end = ask()
		end()
		check()
		done()
		end = ask()
		check("Approve on the phone: mine: login as root")
		if err := w.Withdraw(w.Status().Waiting[0].RequestID); err != nil {
			t.Error(err)
		}
		end()
		check("close 1")
	})
}
