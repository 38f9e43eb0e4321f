//go:build linux

package hub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vmux/internal/hub/store"
	"vmux/internal/link/hubwire"
)

// smallDisk is a file system of its own, which is gone after the test.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir, args := t.TempDir(), []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	mount := fmt.Sprintf("mount -t tmpfs -o size=%dm,mode=700 tmpfs '%s' && echo mounted && exec cat", megabytes, dir)
	holder := exec.Command("unshare", append(args, "sh", "-c", mount)...)
	end, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	t.Cleanup(func() {
		end.Close()
		_ = holder.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("no small disk: %q, %v", line, err)
	}
	return fmt.Sprintf("/proc/%d/root%s", holder.Process.Pid, dir)
}

// fill leaves nothing of the disk free.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "full")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func (h *testHub) healthz() (int, string) {
	h.t.Helper()
	resp, err := http.Get(h.url + "/healthz")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A full disk ends NATS's store for good, also when there is room again (public
// reports: nats-server 7654, "JetStream out of File resources, will be DISABLED";
// kubo 5300). The hub says so at /healthz and to phones, relays meanwhile, and
// stores again what it was given, without a restart.
func TestFullDisk(t *testing.T) {
	dir, service := smallDisk(t, 16), newPushService(t)
	h := service.hub(filepath.Join(dir, "state"))
	if status, text := h.healthz(); status != http.StatusOK {
		t.Fatalf("health at first: %d %s", status, text)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.log)
		}
	})
	phone := newActor(t).connect(h)
	subscribe := hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: service.subscription()}

	free := fill(t, dir)
	full := syscall.ENOSPC.Error()
	waitFor(t, "healthz to tell of the full disk", func() bool {
		status, text := h.healthz()
		return status == http.StatusServiceUnavailable && strings.Contains(text, full)
	})
	waitFor(t, "a write to fail", func() bool { // what is small may find a place in the last page
		return h.store.Put(context.Background(), "large", make([]byte, store.MaxValue-1)) != nil
	})
	if answer := phone.asks(subscribe); answer.Code != hubwire.CodeInternal || !strings.Contains(answer.Message, full) {
		t.Errorf("a phone that subscribes is told %+v", answer)
	}
	waitFor(t, "the store to be closed", func() bool {
		_, err := h.store.Keys(context.Background())
		return errors.Is(err, store.ErrClosed)
	})
	if answer := phone.asks(subscribe); answer.Code != hubwire.CodeInternal || !strings.Contains(answer.Message, full) {
		t.Errorf("later it is told %+v", answer)
	}
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypePing}, "") // it is connected as before

	free()
	waitFor(t, "healthz to be ok again", func() bool { status, _ := h.healthz(); return status == http.StatusOK })
	waitFor(t, "what the phone wanted to have stored", func() bool {
		b, err := h.store.Get(context.Background(), "subscription."+phone.id.String())
		return err == nil && b != nil
	})
	key := h.push.VAPIDKey()
	h.end()
	if again := service.hub(filepath.Join(dir, "state")); again.push.VAPIDKey() != key {
		t.Error("other VAPID keys after a restart")
	}
}
