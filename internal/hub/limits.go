package hub

import (
	"cmp"
	"time"
)

const (
	// MaxRendezvous is how long a rendezvous token can be used at most.
	MaxRendezvous = 5 * time.Minute
	// MaxWrongTokens ends the connection that shows them.
	MaxWrongTokens = 5

	smallShare = 16 // of QueueBytes: what each device may let wait in any case

	maxTasks        = 64 // at once, of all devices
	maxTaskQueue    = 4  // at once, of one device
	requestBurst    = 64 // text messages of one device at once, and
	requestsEvery   = 100 * time.Millisecond
	maxAddresses    = 1 << 16 // whose rates are remembered
	readBufferSize  = 1 << 10 // of each WebSocket, while it is idle
	writeBufferSize = 2 << 10
)

// Limits bounds what devices, and who is not authenticated, can take from a hub.
type Limits struct {
	// Handshake is the time from a connection's request to its proof.
	Handshake time.Duration
	// Unproven bounds the connections whose proof has not come yet, and
	// UnprovenPerAddress those of one address: an IPv4 address or an IPv6 /64.
	// Where all places are taken, the address with the most loses its oldest.
	Unproven, UnprovenPerAddress int
	// ConnectBurst connections of one address are taken at once, then one in
	// every ConnectEvery.
	ConnectBurst int
	ConnectEvery time.Duration
	// SlowedEvery is ConnectEvery for an address that showed wrong tokens, for
	// the time of SlowedFor.
	SlowedEvery, SlowedFor time.Duration
	// Devices bounds the devices on this hub, DevicesPerAddress those of one
	// address.
	Devices, DevicesPerAddress int
	// Streams bounds the streams of one device, StreamsPerPeer those of two.
	Streams, StreamsPerPeer int
	// QueueBytes bounds what waits for one device to read it, in bytes; over
	// it the stream that it belongs to is closed. TotalQueueBytes bounds what
	// waits for all devices.
	QueueBytes, TotalQueueBytes int
	// PingAfter is how long a device may be quiet before it is asked for a sign
	// of life, DeadAfter before it is taken for gone.
	PingAfter, DeadAfter time.Duration
	// MessageTime is how long one message may take to arrive, and WriteTime how
	// long a device may read nothing of what waits for it.
	MessageTime, WriteTime time.Duration
	// CloseTimeout is how long a device may take to read why its connection ends.
	CloseTimeout time.Duration
}

// DefaultLimits are those of a hub that is not told otherwise.
var DefaultLimits = Limits{
	Handshake: 10 * time.Second,
	Unproven:  1024, UnprovenPerAddress: 64,
	ConnectBurst: 120, ConnectEvery: 250 * time.Millisecond,
	SlowedEvery: 10 * time.Second, SlowedFor: 2 * time.Minute,
	Devices: 100_000, DevicesPerAddress: 2000,
	Streams: 512, StreamsPerPeer: 16,
	QueueBytes: 2 << 20, TotalQueueBytes: 512 << 20,
	PingAfter: 5 * time.Second, DeadAfter: 13 * time.Second,
	MessageTime: 30 * time.Second, WriteTime: 10 * time.Second,
	CloseTimeout: 2 * time.Second,
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	l.Handshake = cmp.Or(l.Handshake, d.Handshake)
	l.Unproven = cmp.Or(l.Unproven, d.Unproven)
	l.UnprovenPerAddress = cmp.Or(l.UnprovenPerAddress, d.UnprovenPerAddress)
	l.ConnectBurst = cmp.Or(l.ConnectBurst, d.ConnectBurst)
	l.ConnectEvery = cmp.Or(l.ConnectEvery, d.ConnectEvery)
	l.SlowedEvery = cmp.Or(l.SlowedEvery, d.SlowedEvery)
	l.SlowedFor = cmp.Or(l.SlowedFor, d.SlowedFor)
	l.Devices = cmp.Or(l.Devices, d.Devices)
	l.DevicesPerAddress = cmp.Or(l.DevicesPerAddress, d.DevicesPerAddress)
	l.Streams = cmp.Or(l.Streams, d.Streams)
	l.StreamsPerPeer = cmp.Or(l.StreamsPerPeer, d.StreamsPerPeer)
	l.QueueBytes = cmp.Or(l.QueueBytes, d.QueueBytes)
	l.TotalQueueBytes = cmp.Or(l.TotalQueueBytes, d.TotalQueueBytes)
	l.PingAfter = cmp.Or(l.PingAfter, d.PingAfter)
	l.DeadAfter = cmp.Or(l.DeadAfter, d.DeadAfter)
	l.MessageTime = cmp.Or(l.MessageTime, d.MessageTime)
	l.WriteTime = cmp.Or(l.WriteTime, d.WriteTime)
	l.CloseTimeout = cmp.Or(l.CloseTimeout, d.CloseTimeout)
	return l
}

// reason is why a connection ended. The numbers are counted, not stored.
type reason int

const (
	endLost      reason = iota // the device closed it, or the network did
	endReplaced                // the same device has connected anew
	endDead                    // no sign of life
	endSlow                    // it reads nothing of what waits for it
	endMalformed               // a message that is none
	endGuessing                // too many wrong tokens
	endBusy                    // over a limit
	endHandshake               // no proof in time, or a wrong one
	endClosing                 // the hub ends
	reasons
)

// String names the reason, for logs and counts.
func (r reason) String() string {
	return [...]string{
		"lost", "replaced", "dead", "slow", "malformed", "guessing", "busy", "handshake", "closing",
	}[r]
}

// Stats is how a hub is doing.
type Stats struct {
	Devices   int // online at this hub
	Elsewhere int // online at other hubs of the same cluster
	Unproven  int // connections whose proof has not come yet
	Queued    int // bytes that wait for devices
	// Ended counts the connections that ended, by reason: lost, replaced, dead,
	// slow, malformed, guessing, busy, handshake, closing.
	Ended map[string]uint64
}

// Stats tells how the hub is doing.
func (h *Hub) Stats() Stats {
	h.mu.RLock()
	s := Stats{Devices: len(h.local), Elsewhere: len(h.remote)}
	h.mu.RUnlock()
	s.Unproven, s.Queued = h.addresses.waiting(), int(h.queued.Load())
	s.Ended = map[string]uint64{}
	for r := range reasons {
		if n := h.ended[r].Load(); n > 0 {
			s.Ended[r.String()] = n
		}
	}
	return s
}
