// Package link is the conversation between two paired devices: mutual TLS 1.3
// with pinned device IDs over whatever byte stream a Route opens, framing,
// request and answer, keep-alive, reconnect, pairing. It knows nothing of keys,
// people or SSH: what a request means is its Handler's business.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Limits of a node.
const (
	// MaxRequests bounds the requests of one peer that are being served at
	// once; one more is answered with wire.CodeSignerBusy.
	MaxRequests = 64
	// MaxAsks bounds the requests that wait for one peer's answer.
	MaxAsks = 256
	// MaxUnauthenticated bounds the accepted connections that have not shown yet that
	// they belong to a paired device; MaxUnauthenticatedPerHost those of one address.
	MaxUnauthenticated        = 64
	MaxUnauthenticatedPerHost = 16
	// maxQueued bounds the bytes that wait to be written to one peer.
	maxQueued = 4 * wire.MaxEnvelopeSize
	// maxHelloFrame bounds a frame before the peer is known to be paired.
	maxHelloFrame = 64 << 10

	// linkID is the envelope ID of an error that concerns the link as a whole
	// and answers nothing.
	linkID = "link"
)

// Reasons for which a link ends, and errors of asking. LinkDown's reason is, or
// wraps, one of the first group or a *wire.Error.
var (
	ErrPeerClosed    = errors.New("the other device closed the link")
	ErrConnection    = errors.New("connection lost")
	ErrDead          = errors.New("no sign of life from the other device")
	ErrSlowPeer      = errors.New("the other device reads too slowly")
	ErrReplaced      = errors.New("replaced by a newer connection")
	ErrMalformed     = errors.New("malformed envelope")
	ErrNodeClosed    = errors.New("link node closed")
	ErrUnpairedHere  = wire.Errorf(wire.CodePairingInvalid, "unpaired on this device")
	ErrHandshakeTime = errors.New("no hello in time")

	ErrWrongDevice = errors.New("another device answered")
	ErrNotLinked   = errors.New("not connected to the device")
	ErrNoRoute     = errors.New("no route to the device")
	ErrTooManyAsks = wire.Errorf(wire.CodeSignerBusy, "too many requests wait for this device")
	ErrDuplicateID = errors.New("a request of this ID is waiting already")
)

// Secure runs the TLS handshake on a byte stream that leads, perhaps, to the
// peer, and fails unless the peer's own device ends it. It closes conn when it
// fails.
type Secure func(ctx context.Context, conn net.Conn) (*tls.Conn, error)

// Route opens byte streams to a device. Dial offers what it opens to secure,
// possibly several at once since a last known address may have become somebody
// else's, and returns the first that passes with the place it leads to
// ("tcp:HOST:PORT", "hub:URL"). It closes all others. It returns ErrNoRoute when
// it knows no way to the peer.
type Route interface {
	Name() string
	Dial(ctx context.Context, peer device.Peer, secure Secure) (conn *tls.Conn, route string, err error)
}

// Inviter is a Route that opens byte streams to a device which invites this one,
// with what the invitation has for it. Other routes dial the invitation's
// addresses as they dial any peer's.
type Inviter interface {
	DialInvited(ctx context.Context, inv device.Invitation, secure Secure) (conn *tls.Conn, route string, err error)
}

// Waker is a Route that keeps a connection of its own: Wake makes it look after
// that at once. It does not block.
type Waker interface{ Wake() }

// Finder is a Route that hears of devices by itself. Node.Run runs it; found
// tells that a device can be dialled now, and does not block.
type Finder interface {
	Find(ctx context.Context, found func(device.ID))
}

// Handler is told of links and serves the peers' requests. Calls for one peer's
// links come one after the other; calls for different peers come concurrently.
type Handler interface {
	// LinkUp and LinkDown come in pairs. Ask may be called from within LinkUp.
	LinkUp(p device.Peer, hello wire.Hello, route string)
	LinkDown(p device.Peer, reason error)
	// Unpaired tells that the peer says it is not paired with this device. The
	// node itself changes nothing in Trust.
	Unpaired(p device.Peer)
	// Paired tells that a pairing has been completed; Trust has the peer.
	Paired(p device.Peer)
	// Serve answers one request, in a goroutine of its own. An answer without
	// kind is not sent. ctx ends when the peer cancels the request, when it is
	// unpaired, and when the node closes; not when the link is lost, since the
	// peer sends the request again after it has reconnected: the node then
	// joins it to the running Serve, and delivers a finished answer that may
	// have been lost. A duplicate on the link that brought the original is
	// served anew, to be refused by whoever keeps the replay guard.
	Serve(ctx context.Context, req *Request) (wire.Kind, any)
}

// HelloListener is a Handler that wants to know when a peer's hello changes while
// a link is up: see Node.HelloAgain. The call comes after LinkUp and before
// LinkDown.
type HelloListener interface {
	HelloChanged(p device.Peer, hello wire.Hello)
}

// Request is one request of a peer.
type Request struct {
	From     device.Peer
	Envelope wire.Envelope

	received func()
}

// Received tells the peer that the request is shown to a person.
func (r *Request) Received() {
	if r.received != nil {
		r.received()
	}
}

// Config configures a Node. Key, Trust and Name are required.
type Config struct {
	Key   *device.Key
	Trust *device.Trust
	Name  string
	// Hello returns what this role adds to its hello; the node fills in
	// protocol version, name and clock. Nil adds nothing. Called concurrently.
	Hello func() wire.Hello
	// Routes are the ways to dial; none for a device that is only dialled. All
	// are tried at once. A link that came up by one of them, or that the peer
	// opened, is replaced when a route that stands before it turns out to work.
	Routes []Route
	// Handler is nil for a node that only pairs: it closes the connection once
	// paired.
	Handler Handler
	// Log is where the node writes; nil discards. Neither bodies nor the
	// names of unpaired devices are logged.
	Log *slog.Logger
}

// The times of a node, which notices a dead link within 12 s.
const (
	pingAfter     = 4 * time.Second  // quiet on a link before a ping
	deadAfter     = 12 * time.Second // quiet on a link before it counts as dead
	probeTimeout  = 3 * time.Second  // the same, after Wake
	handshakeTime = 10 * time.Second // TLS, hello and pairing, together
	dialTime      = 10 * time.Second // one attempt by all routes, without the handshake
	writeTime     = 10 * time.Second // one write to the network
	closeTimeout  = time.Second      // for the peer to read why a link ends
	steady        = 5 * time.Second  // age of a link that resets the back-off
	// BackoffMin and backoffMax are the ends of the pause between attempts.
	BackoffMin = 200 * time.Millisecond
	backoffMax = 15 * time.Second
	// Better is the time between attempts to replace a link by one of a better
	// route, if nothing tells of one; BetterMin the least time.
	Better    = 2 * time.Minute
	BetterMin = 5 * time.Second
)

// PeerStatus is what a node knows of one paired device.
type PeerStatus struct {
	ID         device.ID
	Name       wire.Text
	Connected  bool
	Connecting bool
	Route      string    // of the link, if connected
	Since      time.Time // of the link, or of its end; zero if there was none
	// ClockDifference is how far the peer's clock was ahead of this one's at
	// its last hello.
	ClockDifference time.Duration
	// RoundTrip is how long the answer to this side's last ping took; 0: not known.
	RoundTrip time.Duration
	Hello     wire.Hello // the last one
	// LastError is why the last link ended or the last attempt failed; nil
	// while connected.
	LastError error
}

// routeOf names the place at a connection's other end.
func routeOf(c net.Conn) string {
	a := c.RemoteAddr()
	if a == nil {
		return "unknown"
	}
	if hub, ok := a.(interface{ Route() string }); ok {
		return hub.Route()
	}
	return fmt.Sprintf("%s:%s", a.Network(), a)
}
