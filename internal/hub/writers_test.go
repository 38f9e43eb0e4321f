package hub

import (
	"context"
	"testing"
)

// Devices that are slow keep nobody from writing to others, however many they
// are. Of those who wrote a few wait for the next, and end with the hub.
func TestWriters(t *testing.T) {
	h := &Hub{writers: make(chan *conn)}
	h.ctx, h.stop = context.WithCancel(t.Context())
	write := func(c *conn) {
		c.writers.Add(1)
		h.writeFor(c)
	}
	slow := make([]*conn, 2*maxIdleWriters)
	for i := range slow {
		slow[i] = &conn{hub: h}
		slow[i].mu.Lock() // whoever writes to it waits
		write(slow[i])
	}
	for range 3 {
		quick := &conn{hub: h}
		write(quick)
		quick.writers.Wait()
	}
	for _, c := range slow {
		c.mu.Unlock()
		c.writers.Wait()
	}
	waitFor(t, "most who wrote to be gone", func() bool { return h.idle.Load() == maxIdleWriters })
	h.stop()
	h.wg.Wait()
}
