package client

import (
	"testing"
	"testing/synctest"
	"time"
)

// A disk that does not answer delays one login by 50 ms, and those behind it not at
// all, until it answers.
func TestReadingNeverHoldsUpALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var files Files
		answers := make(chan struct{})
		start := time.Now()
		for range 2 {
			if got := begin(&files, "typed", func() string { <-answers; return "read" }).Wait(); got != "typed" {
				t.Errorf("got %q", got)
			}
		}
		if d := time.Since(start); d != maxReading {
			t.Errorf("took %s", d)
		}
		close(answers)
		synctest.Wait()
		if got := begin(&files, "typed", func() string { return "read" }).Wait(); got != "read" {
			t.Errorf("got %q after the disk answered", got)
		}
	})
}
