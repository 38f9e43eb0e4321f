package hub

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/hub/push"
	"vmux/internal/link/hubwire"
)

// taskTime bounds what is done for one request outside of the reading.
const taskTime = 15 * time.Second

// read takes messages until there are no more.
func (c *conn) read() {
	for {
		typ, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return
		}
		c.begun.Store(int64(c.hub.now()))
		b, err := io.ReadAll(r) // at most hubwire.MaxMessage bytes: the WebSocket's read limit
		c.begun.Store(0)
		if err != nil {
			why := endLost
			if errors.Is(err, websocket.ErrMessageTooBig) {
				why = endMalformed
			}
			c.because(why)
			return
		}
		switch {
		case c.over.Load(): // what it still says counts no more
		case typ == websocket.MessageBinary:
			c.takeFrame(b)
		default:
			c.takeMessage(b)
		}
	}
}

// takeMessage serves a text message.
func (c *conn) takeMessage(b []byte) {
	m, err := hubwire.ParseMessage(b)
	if err != nil {
		c.end(endMalformed, hubwire.CodeMalformed, err.Error())
		return
	}
	switch m.Type {
	case hubwire.TypePing, hubwire.TypeAllow, hubwire.TypeRendezvous, hubwire.TypeSubscribe, hubwire.TypeWake:
	default:
		return // of a later version
	}
	if m.ID == 0 {
		c.end(endMalformed, hubwire.CodeMalformed, "a request without ID")
		return
	}
	if !c.requests.Allow() {
		c.refuseRequest(m.ID, hubwire.CodeBusy, "too many requests")
		return
	}
	c.serveRequest(m)
}

func (c *conn) serveRequest(m hubwire.Message) {
	switch m.Type {
	case hubwire.TypePing:
		c.done(m.ID)
	case hubwire.TypeAllow:
		c.hub.setAllow(c, newAllowList(c.id, m.Allow))
		c.task(m.ID, c.keepAllow)
	case hubwire.TypeRendezvous:
		c.takeRendezvous(m)
	case hubwire.TypeSubscribe:
		c.task(m.ID, func(ctx context.Context) error { return c.subscribe(ctx, m) })
	case hubwire.TypeWake:
		c.task(m.ID, func(ctx context.Context) error { return c.wake(ctx, m.Peer) })
	}
}

func (c *conn) done(id uint64) { c.send(hubwire.Message{Type: hubwire.TypeDone, ID: id}) }

func (c *conn) refuseRequest(id uint64, code hubwire.Code, message string) {
	c.send(hubwire.Message{Type: hubwire.TypeError, ID: id, Code: code, Message: message})
}

// task does what waits for the store or the network, one after the other for
// one device, and answers the request when it is done.
func (c *conn) task(id uint64, do func(context.Context) error) {
	run := func(ctx context.Context) {
		err := do(ctx)
		switch code := codeOf(err); {
		case err == nil:
			c.done(id)
		case code == hubwire.CodeInternal:
			c.hub.log.Error("request failed", "device", c.id.Short(), "reason", err)
			c.refuseRequest(id, code, c.hub.failure(err))
		default:
			c.refuseRequest(id, code, err.Error())
		}
	}
	if !c.later(run) {
		c.refuseRequest(id, hubwire.CodeBusy, "too many requests at once")
	}
}

// failure is what a device is told when the hub fails: why a push did, or that the
// disk does.
func (h *Hub) failure(err error) string {
	if refused, ok := errors.AsType[*push.RefusedError](err); ok {
		return refused.Error()
	}
	if errors.Is(err, push.ErrUnreachable) {
		return push.ErrUnreachable.Error()
	}
	if err := h.store.Health(); err != nil {
		return err.Error()
	}
	return "the hub failed"
}

// later puts a task behind those that wait, or reports that too many do. Its context
// ends after taskTime. It is called by run, or by one of the hub's own goroutines.
func (c *conn) later(run func(context.Context)) bool {
	c.mu.Lock()
	full := len(c.tasks) >= maxTaskQueue
	if !full {
		c.tasks = append(c.tasks, run)
	}
	idle := !full && !c.running
	c.running = c.running || idle
	c.mu.Unlock()
	if idle {
		c.hub.wg.Go(c.runTasks) // the caller holds the group
	}
	return !full
}

func (c *conn) runTasks() {
	h := c.hub
	for {
		c.mu.Lock()
		if len(c.tasks) == 0 {
			c.tasks, c.running = nil, false
			c.mu.Unlock()
			return
		}
		do := c.tasks[0]
		c.tasks = c.tasks[1:]
		c.mu.Unlock()
		select {
		case h.tasks <- struct{}{}:
			ctx, cancel := context.WithTimeout(h.ctx, taskTime)
			do(ctx)
			cancel()
			<-h.tasks
		case <-h.ctx.Done():
		}
	}
}

// keepAllow tells the push service who may wake the device.
func (c *conn) keepAllow(ctx context.Context) error {
	return c.hub.push.Allow(ctx, c.id, c.allowed())
}

// bringAllow tells the push service what the device brought along: it may have ended
// a pairing while it was away. A device that comes and goes is not made to wait.
func (c *conn) bringAllow() {
	c.later(func(ctx context.Context) {
		if err := c.keepAllow(ctx); err != nil {
			c.hub.log.Error("cannot store who may wake a device", "device", c.id.Short(), "reason", err)
		}
	})
}

// allowed returns whom the device allows now.
func (c *conn) allowed() []device.ID {
	c.hub.mu.RLock()
	defer c.hub.mu.RUnlock()
	return c.allow // replaced as a whole, never changed
}

// storeAgain does what could not be stored: who may wake the device, above all, and
// the subscription that it has been told was refused.
func (c *conn) storeAgain() {
	c.bringAllow()
	c.mu.Lock()
	m := c.unstored
	c.unstored = nil
	c.mu.Unlock()
	if m == nil {
		return
	}
	c.later(func(ctx context.Context) {
		if err := c.subscribe(ctx, *m); err != nil {
			c.hub.log.Warn("cannot store a push subscription", "device", c.id.Short(), "reason", err)
		}
	})
}

// subscribe stores the device's subscription, or that it has none, and notes what
// could not be stored.
func (c *conn) subscribe(ctx context.Context, m hubwire.Message) (err error) {
	if len(m.Subscription) == 0 {
		err = c.hub.push.Unsubscribe(ctx, c.id)
	} else {
		err = c.hub.push.Subscribe(ctx, c.id, m.Subscription, c.allowed())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unstored = nil
	if err != nil && codeOf(err) == hubwire.CodeInternal {
		c.unstored = &m
	}
	return err
}

func (c *conn) wake(ctx context.Context, peer *device.ID) error {
	if peer == nil {
		return hubwire.ErrMessage
	}
	return c.hub.push.Wake(ctx, c.id, *peer)
}

func codeOf(err error) hubwire.Code {
	switch {
	case errors.Is(err, push.ErrNotSubscribed):
		return hubwire.CodeNotSubscribed
	case errors.Is(err, push.ErrDead):
		return hubwire.CodeSubscriptionDead
	case errors.Is(err, push.ErrLimited), errors.Is(err, push.ErrFull):
		return hubwire.CodeBusy
	case errors.Is(err, push.ErrSubscription), errors.Is(err, hubwire.ErrMessage):
		return hubwire.CodeMalformed
	}
	return hubwire.CodeInternal
}
