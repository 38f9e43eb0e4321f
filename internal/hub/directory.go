package hub

import (
	"bytes"
	"slices"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// allowList holds the devices that may reach another one, sorted. It is replaced
// as a whole and never changed.
type allowList []device.ID

// newAllowList keeps each device once, and not the one whose list it is.
func newAllowList(of device.ID, ids []device.ID) allowList {
	list := slices.DeleteFunc(slices.Clone(ids), func(id device.ID) bool { return id == of })
	slices.SortFunc(list, device.ID.Compare)
	return slices.Clip(slices.Compact(list))
}

func (l allowList) has(id device.ID) bool {
	_, found := slices.BinarySearchFunc(l, id, device.ID.Compare)
	return found
}

// remoteDevice is a device that is online at another hub.
type remoteDevice struct {
	hub   hubID
	epoch uint64
	allow allowList
}

// An epoch orders the connections of one device over all hubs: the time in
// microseconds, or, where clocks differ, one more than all that the hub has heard
// of (a hybrid logical clock). Of two that are the same, the hub with the greater
// ID wins.
func newer(epoch uint64, hub hubID, than uint64, thanHub hubID) bool {
	if epoch != than {
		return epoch > than
	}
	return bytes.Compare(hub[:], thanHub[:]) > 0
}

// enter makes a proven device known to the others. It replaces an older
// connection of the same device: a dead one must not lock its owner out. It
// reports false if the hub ends.
func (h *Hub) enter(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.wg.Add(1)
	h.addresses.count(c.from, 1)
	h.clock = max(h.clock+1, uint64(time.Now().UnixMicro()))
	c.epoch = h.clock
	before := h.remote[c.id].allow
	delete(h.remote, c.id)
	if old := h.local[c.id]; old != nil {
		before = old.allow
		h.replace(old)
	}
	h.local[c.id] = c
	c.send(hubwire.Message{Type: hubwire.TypeWelcome, VAPIDKey: h.push.VAPIDKey()})
	h.announce(here{ID: c.id, Epoch: c.epoch, Allow: c.allow})
	h.tell(c.id, before, c.allow, true)
	h.log.Debug("device came", "device", c.id.Short())
	return true
}

// replace ends a connection whose device has a newer one. h.mu is held.
func (h *Hub) replace(old *conn) {
	delete(h.local, old.id)
	old.end(endReplaced, hubwire.CodeReplaced, "the device has connected anew")
	old.closeStreams()
}

// leave is the end of a connection for the others.
func (h *Hub) leave(c *conn) {
	h.mu.Lock()
	current := h.local[c.id] == c
	if current {
		delete(h.local, c.id)
		h.announce(here{ID: c.id, Epoch: c.epoch, Gone: true})
	}
	h.mu.Unlock()
	c.closeStreams()
	if !current {
		return
	}
	// After the streams, so that who hears of the one has heard of the other.
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, elsewhere := h.remote[c.id]; h.local[c.id] == nil && !elsewhere {
		h.tell(c.id, c.allow, nil, false)
	}
}

// setAllow replaces whom a device lets reach it. Streams that are open stay:
// either end can close its own.
func (h *Hub) setAllow(c *conn, allow allowList) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := c.allow
	c.allow = allow
	if h.local[c.id] != c {
		return
	}
	h.announce(here{ID: c.id, Epoch: c.epoch, Allow: allow})
	h.tell(c.id, before, allow, false)
}

// tell tells of the presence of a device, whose allow list was before and is
// after (nil: offline): to those whom the list concerns, and, if the device is
// on this hub, to it. Both must allow each other. What was told before is told
// again only for a new connection. h.mu is held.
func (h *Hub) tell(id device.ID, before, after allowList, again bool) {
	self := h.local[id]
	inform := func(peer device.ID, online bool) {
		if self != nil && (online || !again) { // a new connection has been told of nobody
			self.tell(peer, online)
		}
		if c := h.local[peer]; c != nil {
			c.tell(id, online)
		}
	}
	for _, peer := range after {
		if allow, online := h.allowOf(peer); online && allow.has(id) && (again || !before.has(peer)) {
			inform(peer, true)
		}
	}
	for _, peer := range before {
		if allow, online := h.allowOf(peer); online && allow.has(id) && !after.has(peer) {
			inform(peer, false)
		}
	}
}

func (c *conn) tell(peer device.ID, online bool) {
	c.send(hubwire.Message{Type: hubwire.TypePresence, Peer: &peer, Online: online})
}

// allowOf returns whom a device lets reach it, if it is online. h.mu is held.
func (h *Hub) allowOf(id device.ID) (allowList, bool) {
	if c := h.local[id]; c != nil {
		return c.allow, true
	}
	r, online := h.remote[id]
	return r.allow, online
}
