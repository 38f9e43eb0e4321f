package leakcheck

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// A goroutine that waits is found, be it for another or in the standard library, and
// is gone once it has ended.
func TestFindsWhatStays(t *testing.T) {
	before := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go r.Read(make([]byte, 1))
	defer r.Close()
	for _, name := range []string{"leakcheck.TestFindsWhatStays", "os.(*File).Read"} {
		if err := goleak.Find(before); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not found: %v", name, err)
		}
	}
	close(end)
	w.Close()
	if err := leaked(before); err != nil {
		t.Error(err)
	}
}
