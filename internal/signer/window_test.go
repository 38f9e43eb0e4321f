package signer

import (
	"testing"
	"time"

	"vmux/internal/wire"
)

// A window's end with a monotonic reading is reached late after a suspend, during
// which that clock stops: an approval would count that comes after the end.
func TestWindowHasNoMonotonicReading(t *testing.T) {
	now := time.Now()
	asking := wire.NewAsking("id", "computer", now, wire.Window)
	until, err := window(&asking, now)
	if err != nil || until != until.Round(0) {
		t.Errorf("until %v, %v", until, err)
	}
}
