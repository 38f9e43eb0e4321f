package testkit

import "time"

// TB is what WaitFor needs of a test, of a benchmark, or of a script.
type TB interface {
	Fatalf(format string, args ...any)
}

// Told says at the end what was waited for, and what there was instead.
type Told func() string

func (t Told) String() string { return t() }

// limit is generous, since a test machine may be busy: only a test that fails
// waits for so long.
const limit = 4 * time.Minute

// WaitFor waits until ready says so. It is the one place where tests wait by looking
// again: for what another goroutine or process brings about and nothing announces.
// What is a string, or something whose String is asked when the time is over.
func WaitFor(t TB, what any, ready func() bool) {
	if t, ok := t.(interface{ Helper() }); ok {
		t.Helper()
	}
	for began := time.Now(); !ready(); {
		waited := time.Since(began)
		if waited > limit {
			t.Fatalf("waited %v for %v", limit, what)
		}
		// Looking costs time that others need, and a tenth more is soon over.
		time.Sleep(min(max(waited/10, 10*time.Millisecond), 200*time.Millisecond))
	}
}
