package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/hubpage"
	"vmux/internal/link"
	"vmux/internal/link/relay"
)

// fakeHub is a hub connection that is there or not.
type fakeHub struct {
	link.Route
	connected atomic.Bool
}

func (h *fakeHub) Status() relay.Status                    { return relay.Status{Connected: h.connected.Load()} }
func (*fakeHub) Run(context.Context) error                 { return nil }
func (*fakeHub) Refresh()                                  {}
func (*fakeHub) Listener() net.Listener                    { return nil }
func (*fakeHub) WakePeer(context.Context, device.ID) error { return nil }
func (*fakeHub) Rendezvous(context.Context, [32]byte, time.Duration) (func(), error) {
	return func() {}, nil
}

// evilhub changes a script after the first look: the status says so, until it
// serves what was built again.
func TestChangedPageIsInStatus(t *testing.T) {
	var script atomic.Pointer[string]
	built, evil := "app()", "evil()"
	script.Store(&built)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && r.URL.Path != "/index.html" && r.URL.Path != "/sw.js" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(*script.Load()))
	}))
	defer s.Close()
	w := newWorld(t)
	sum := sha256.Sum256([]byte(built))
	file := hubpage.File{SHA256: hex.EncodeToString(sum[:]), ContentType: "text/plain"}
	w.hub, w.cfg.Hub = &fakeHub{}, &Hub{URL: s.URL}
	if _, err := w.VerifyHub(t.Context()); err == nil || !strings.Contains(err.Error(), "no list") {
		t.Errorf("without a list: %v", err)
	}
	w.cfg.Page = &hubpage.List{Files: map[string]hubpage.File{"index.html": file, "sw.js": file}}
	for _, step := range []struct {
		script   *string
		warnings int
	}{{&built, 0}, {&evil, 1}, {&built, 0}} {
		script.Store(step.script)
		if _, err := w.VerifyHub(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := w.Status().Warnings
		if len(got) != step.warnings || step.warnings > 0 && !strings.Contains(got[0], "vmux hub verify") {
			t.Errorf("%s: warnings %q", *step.script, got)
		}
	}
}

// The page is compared once the hub is there, then daily; what failed is tried
// again within the hour, not at once.
func TestPageIsComparedDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		hub := &fakeHub{}
		w.hub, w.cfg.Page = hub, &hubpage.List{}
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int32
		var works atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.watchPage(ctx, func(context.Context) (hubpage.Report, error) {
				looks.Add(1)
				if !works.Load() {
					return hubpage.Report{}, errors.New("not now")
				}
				return hubpage.Report{}, nil
			})
		}()
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			w.journal.Change() // whatever changes must not make it look more often
			synctest.Wait()
			if n := looks.Load(); int(n) != want {
				t.Errorf("%d looks, want %d", n, want)
			}
		}
		after(time.Minute, 0)
		hub.connected.Store(true)
		after(time.Second, 1)
		after(time.Minute, 1)
		works.Store(true)
		after(time.Hour, 2)
		after(22*time.Hour, 2)
		after(3*time.Hour, 3)
		cancel()
		<-done
	})
}
