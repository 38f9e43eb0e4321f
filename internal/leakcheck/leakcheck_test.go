package leakcheck

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// A goroutine that waits is found, be it in the standard library by then, and is
// gone once it has ended.
func TestFindsWhatStays(t *testing.T) {
	end := make(chan struct{})
	go linger(end)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go r.Read(make([]byte, 1))
	for _, name := range []string{"leakcheck.linger", "os.(*File).Read"} {
		waitFor(t, name+" to be found", func() bool { return bytes.Contains(leaked(stacks()), []byte(name)) })
	}
	close(end)
	w.Close()
	for _, name := range []string{"leakcheck.linger", "os.(*File).Read"} {
		waitFor(t, name+" to be gone", func() bool { return !bytes.Contains(leaked(stacks()), []byte(name)) })
	}
	r.Close()
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func linger(end <-chan struct{}) { <-end }
