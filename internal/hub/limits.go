package hub

import "time"

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

// reason is why a connection ended.
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
)

// String names the reason, for logs.
func (r reason) String() string {
	return [...]string{
		"lost", "replaced", "dead", "slow", "malformed", "guessing", "busy", "handshake", "closing",
	}[r]
}
