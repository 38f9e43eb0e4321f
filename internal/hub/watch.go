package hub

import (
	"context"
	"time"
)

const (
	watchEvery = time.Second
	tidyEvery  = time.Minute
)

// watch looks after all connections, so that none needs a timer of its own.
func (h *Hub) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	tidied := h.now()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		now := h.now()
		h.mu.RLock()
		for _, c := range h.local {
			c.watch(now)
		}
		h.mu.RUnlock()
		h.beat()
		if now-tidied >= tidyEvery {
			h.addresses.tidy(now)
			tidied = now
		}
	}
}

// watch cuts a connection that is dead or stuck, and asks one that has been
// quiet for a sign of life. It does not block.
func (c *conn) watch(now time.Duration) {
	limits := c.hub.limits
	quiet := now - time.Duration(c.socket.heard.Load())
	c.mu.Lock()
	writing := c.writing
	c.mu.Unlock()
	begun := time.Duration(c.begun.Load())
	switch {
	case quiet > limits.DeadAfter:
		c.cut(endDead)
	case writing && now-time.Duration(c.wrote.Load()) > limits.WriteTime:
		c.cut(endSlow)
	case begun > 0 && now-begun > limits.MessageTime:
		c.cut(endMalformed)
	case quiet > limits.PingAfter && c.pinging.CompareAndSwap(false, true):
		c.ping()
	}
}

// ping asks for a sign of life. Whatever the device says is one. Without an end
// of its own it would outlive a connection that is lost meanwhile, and keep it.
func (c *conn) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.limits.DeadAfter)
	c.endPing = cancel
	c.writers.Add(1)
	go func() {
		defer c.writers.Done()
		defer cancel()
		_ = c.ws.Ping(ctx)
		c.mu.Lock()
		c.endPing = nil
		c.mu.Unlock()
		c.pinging.Store(false)
	}()
}
