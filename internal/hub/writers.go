package hub

// maxIdleWriters bounds the goroutines that wait for the next device to write to:
// a new one's stack has to grow, which costs half as much as the writing.
const maxIdleWriters = 16

// writeFor has a goroutine call c.write: one that waits, if there is one. It does
// not block. c.run has not ended.
func (h *Hub) writeFor(c *conn) {
	select {
	case h.writers <- c:
	default:
		h.wg.Add(1) // which c.run holds
		go h.writer(c)
	}
}

func (h *Hub) writer(c *conn) {
	defer h.wg.Done()
	for {
		c.write()
		c = nil // one that waits keeps no device
		if h.idle.Add(1) > maxIdleWriters {
			h.idle.Add(-1)
			return
		}
		select {
		case c = <-h.writers:
			h.idle.Add(-1)
		case <-h.ctx.Done():
			return
		}
	}
}
