package relay

import (
	"testing"
	"time"
)

// TestWatch: how soon a silent hub is given up, and that a page which looks once
// in a minute does not give up one that answers.
func TestWatch(t *testing.T) {
	var w watch
	if left, ping := w.look(2*time.Second, time.Second, false); ping || left != 5*time.Second {
		t.Errorf("a second of silence: %v left, ping %v", left, ping)
	}
	if left, ping := w.look(7*time.Second, time.Second, false); !ping || left != 7*time.Second {
		t.Errorf("six seconds of silence: %v left, ping %v", left, ping)
	}
	if left, _ := w.look(14*time.Second, time.Second, false); left > 0 {
		t.Errorf("no answer: %v left", left)
	}

	w = watch{}
	for minute := range 10 {
		now := time.Duration(minute+1) * time.Minute
		heard := now - time.Minute + 50*time.Millisecond // the answer to the last ping
		if left, ping := w.look(now, heard, false); left <= 0 || !ping {
			t.Errorf("minute %d: %v left, ping %v", minute, left, ping)
		}
	}

	w = watch{}
	if left, ping := w.look(2*time.Second, time.Second, true); !ping || left != probeTimeout {
		t.Errorf("probed: %v left, ping %v", left, ping)
	}
	if _, ping := w.look(2*time.Second+time.Millisecond, 2*time.Second+time.Microsecond, true); ping {
		t.Error("probed again at once")
	}
	w = watch{}
	_, _ = w.look(7*time.Second, time.Second, false)
	if left, ping := w.look(8*time.Second, time.Second, true); ping || left != probeTimeout {
		t.Errorf("probed while a ping waits: %v left, ping %v", left, ping)
	}
}
