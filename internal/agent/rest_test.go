package agent

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// retained is what the heap holds of the system's memory, in bytes.
func retained() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}

// use takes memory as a burst of logins does, and forgets it.
func use(n int) {
	b := make([][]byte, n>>10)
	for i := range b {
		b[i] = make([]byte, 1<<10)
	}
	runtime.KeepAlive(b)
}

// What a burst took is given back once nobody has been there for a while, and not
// in the midst of it.
func TestRest(t *testing.T) {
	const burst = 64 << 20
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		left, ended := make(chan struct{}, 1), make(chan struct{})
		go func() { defer close(ended); rest(ctx, left) }()
		for range 2 {
			use(burst)
			for range 20 {
				time.Sleep(restAfter / 2)
				left <- struct{}{}
			}
			before := retained()
			if before < burst/2 {
				t.Errorf("%d bytes are held while clients come and go", before)
			}
			time.Sleep(restAfter + time.Second)
			synctest.Wait()
			if after := retained(); after > before-burst/2 {
				t.Errorf("%d bytes are held after a rest, %d before", after, before)
			}
		}
		cancel()
		<-ended
	})
}
