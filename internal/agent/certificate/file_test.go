package certificate

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The file holds the certificate of now, is replaced at renewal, and gone at
// expiry and at the agent's end. What is not the agent's stays.
func TestCertificateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmux-session-cert.pub")
	has := func(want string) {
		t.Helper()
		synctest.Wait()
		b, err := os.ReadFile(path)
		if string(b) != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q, %v", b, err)
		}
		if left, _ := filepath.Glob(path + ".new*"); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
	}
	if err := os.WriteFile(path, []byte("ecdsa-old AAAA "+Comment+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.KeepFile(ctx, path) }()
		has("")
		w.connect(p)
		synctest.Wait()
		first := w.state().Line + "\n"
		has(first)
		time.Sleep(7*time.Hour + 5*time.Second)
		synctest.Wait()
		second := w.state().Line + "\n"
		if first == second {
			t.Error("not renewed")
		}
		has(second)
		w.disconnect(p)
		time.Sleep(9 * time.Hour)
		has("")
		w.connect(p)
		synctest.Wait()
		has(w.state().Line + "\n")
		cancel()
		<-done
		has("")
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if writeFile(path, first) == nil || writeFile(path, "") == nil {
			t.Error("another file is taken for the agent's")
		}
		has("mine")
	})
}
