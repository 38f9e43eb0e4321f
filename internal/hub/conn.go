package hub

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// reserve is how far a queue may go over its limit for the hub's own messages.
// A device that lets even these lie is cut off.
const reserve = 256 << 10

// conn is one device's connection. Its run reads; what others send to the device
// they append to queue, and whoever finds nobody writing has one of the hub's
// writers write until the queue is empty. So a device that is silent costs one
// goroutine, and a slow one stops nobody else.
type conn struct {
	// Fixed once proven.
	hub    *Hub
	ws     *websocket.Conn
	socket *socket
	from   netip.Addr
	id     device.ID

	// Guarded by hub.mu.
	epoch uint64
	allow allowList

	requests *rate.Limiter

	over    atomic.Bool  // it ends: nothing is taken from it any more
	why     atomic.Int32 // reason + 1, the first that was given
	begun   atomic.Int64 // hub's time when the message began that is being read; 0: none
	wrote   atomic.Int64 // hub's time of the last progress in writing
	pinging atomic.Bool
	writers sync.WaitGroup

	// Guarded by mu, which is taken after hub.mu, and never two at once.
	mu         sync.Mutex
	streams    map[streamKey]stream
	rendezvous *rendezvous
	guesses    int // tokens shown that were not right, or not yet
	wrong      int // those that were wrong
	queue      []item
	waiting    int // bytes in queue, and being written
	writing    bool
	closeWith  websocket.StatusCode // what ends the connection once all is written; 0: nothing
	tasks      []func(context.Context)
	running    bool               // somebody does tasks
	unstored   *hubwire.Message   // of kind subscribe: the store has failed
	endPing    context.CancelFunc // of the ping that is out; nil: none is
}

// item is one WebSocket message that waits to be written.
type item struct {
	b    []byte
	text bool
}

// send queues the hub's own message.
func (c *conn) send(m hubwire.Message) {
	b, err := json.Marshal(m)
	if err != nil {
		return // no such message exists
	}
	if !c.enqueue(item{b: b, text: true}, c.hub.limits.QueueBytes+reserve) {
		c.cut(endSlow)
	}
}

// sendFrame queues a frame that the hub itself has made.
func (c *conn) sendFrame(f hubwire.Frame) {
	if !c.enqueue(item{b: f.Append(nil)}, c.hub.limits.QueueBytes+reserve) {
		c.cut(endSlow)
	}
}

// enqueue appends to the queue, unless more than limit bytes would wait then.
// What comes for a connection that ends is dropped.
func (c *conn) enqueue(it item, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load() {
		return true
	}
	if c.waiting+len(it.b) > limit {
		return false
	}
	c.add(it)
	return true
}

// add queues and sees to it that somebody writes. c.mu is held.
func (c *conn) add(it item) {
	c.queue = append(c.queue, it)
	c.waiting += len(it.b)
	c.hub.queued.Add(int64(len(it.b)))
	if !c.writing {
		c.writing = true
		c.wrote.Store(int64(c.hub.now()))
		c.writers.Go(c.write)
	}
}

// write writes until nothing waits.
func (c *conn) write() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			closeWith := c.closeWith
			c.writing = false
			c.mu.Unlock()
			if closeWith != 0 {
				_ = c.ws.Close(closeWith, "")
			}
			return
		}
		batch := c.queue
		c.queue = nil
		c.mu.Unlock()
		c.writeBatch(batch)
	}
}

func (c *conn) writeBatch(batch []item) {
	for _, it := range batch {
		typ := websocket.MessageBinary
		if it.text {
			typ = websocket.MessageText
		}
		err := c.ws.Write(context.Background(), typ, it.b)
		n := len(it.b)
		c.hub.queued.Add(-int64(n))
		c.mu.Lock()
		c.waiting -= n
		c.mu.Unlock()
		if err != nil {
			c.cut(endLost) // the rest fails at once
		}
		c.wrote.Store(int64(c.hub.now()))
	}
}

// end tells the device why its connection ends, and ends it once that is
// written, or after Limits.CloseTimeout.
func (c *conn) end(why reason, code hubwire.Code, message string) {
	b, err := json.Marshal(hubwire.Message{Type: hubwire.TypeError, Code: code, Message: message})
	if err != nil {
		return // no such message exists
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Swap(true) {
		return
	}
	c.because(why)
	c.closeWith = websocket.StatusPolicyViolation
	if why == endClosing {
		c.closeWith = websocket.StatusGoingAway
	}
	_ = c.socket.SetDeadline(time.Now().Add(c.hub.limits.CloseTimeout))
	c.add(item{b: b, text: true})
}

// cut ends the connection at once.
func (c *conn) cut(why reason) {
	c.because(why)
	c.over.Store(true)
	c.socket.kill()
}

// because keeps the first reason.
func (c *conn) because(why reason) { c.why.CompareAndSwap(0, int32(why)+1) }

// reason returns why the connection ended.
func (c *conn) reason() reason {
	if why := c.why.Load(); why > 0 {
		return reason(why - 1)
	}
	return endLost
}

// run reads until the connection ends, and leaves nothing behind.
func (c *conn) run() {
	h := c.hub
	defer h.wg.Done()
	c.bringAllow()
	c.read()
	h.leave(c)
	c.mu.Lock()
	c.over.Store(true)
	endPing := c.endPing
	c.mu.Unlock()
	if endPing != nil {
		endPing()
	}
	c.writers.Wait()
	_ = c.ws.CloseNow()
	c.mu.Lock()
	for _, it := range c.queue {
		h.queued.Add(-int64(len(it.b)))
	}
	c.queue = nil
	c.mu.Unlock()
	h.addresses.count(c.from, -1)
	h.log.Debug("device left", "device", c.id.Short(), "reason", c.reason().String())
}
