// Package relay is the route through a hub, natively and in a browser: one
// WebSocket, over which this device opens byte streams to others and takes
// theirs. What the hub says is only about reachability: who is at a stream's
// other end the link's handshake proves, and the hub carries its ciphertext.
package relay

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/wire"
)

// Limits of a client. A hub that passes them costs a stream, or itself the
// connection, and never more memory than this.
const (
	// MaxStreams bounds the streams of a device, and MaxInbound those of them
	// that others opened.
	MaxStreams = 256
	MaxInbound = 64
	// maxUnread bounds the bytes of one stream that have come and were not read:
	// a link has at most 2 MiB under way in each direction. maxUnreadAll bounds
	// those of all streams together.
	maxUnread    = 9 << 18
	maxUnreadAll = 8 << 20
	// maxQueued bounds the bytes that wait to be sent to the hub: streams wait
	// for room. What a hub could make this device say by itself is dropped.
	maxQueued = 256 << 10
	// maxRequests bounds the requests that wait for the hub's answer.
	maxRequests = 64
	// maxAccepted bounds the streams that wait for Accept.
	maxAccepted = 16
	// maxRenewals bounds how often a rendezvous is opened again: see Rendezvous.
	maxRenewals = device.MaxWrongProofs
	// closeTimeout is how long the last messages may take.
	closeTimeout = time.Second
)

const routePrefix = "hub:"

// Errors of the route.
var (
	ErrNotConnected = errors.New("not connected to the hub")
	ErrHubLost      = errors.New("connection to the hub lost")
	ErrWrongOrigin  = errors.New("the hub names another origin than the one dialled")
	ErrMalformed    = errors.New("the hub sent what cannot be read")
	ErrSilent       = errors.New("no sign of life from the hub")
	ErrTooMany      = errors.New("too many streams or requests at the hub")
	ErrOverflow     = errors.New("more arrived than was read")
	ErrClosed       = errors.New("hub client closed")
)

// Error is what a hub refuses with.
type Error struct {
	Code    hubwire.Code
	Message string // for people; shown as wire.Show leaves it
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return "hub: " + string(e.Code)
	}
	return "hub: " + e.Message + " (" + string(e.Code) + ")"
}

// Hint implements wire.Hinter.
func (e *Error) Hint() string {
	if e.Code != hubwire.CodeReplaced {
		return ""
	}
	return "another program has this device's key, most likely of a copy of its folder: use one of the two alone (docs/backup.md)"
}

func asError(m hubwire.Message) *Error {
	return &Error{Code: hubwire.Code(wire.Show(string(m.Code))), Message: wire.Show(m.Message)}
}

// Socket is a WebSocket with a hub: text and binary messages of at most
// hubwire.MaxMessage bytes. One goroutine reads and one writes at a time. What
// Read returns is valid until the next Read. Close ends both, at once.
type Socket interface {
	Read() (text bool, message []byte, err error)
	Write(text bool, message []byte) error
	Close() error
}

// Config configures a Client. URL, Key and Allow are required.
type Config struct {
	// URL is the hub's public URL: https, or http to this machine.
	URL string
	Key *device.Key
	// Allow returns the devices that may reach this one. It is read at each
	// connect and at Refresh, concurrently.
	Allow func() []device.ID
	// Beside tells that the hub is being started together with this client: that
	// it is not there yet is logged for debugging only.
	Beside bool
	// Log is where the client writes; nil discards. No tokens are logged.
	Log *slog.Logger
	// RootCAs are those that a native client trusts; nil: the system's. In a
	// browser it has no effect.
	RootCAs *x509.CertPool
	// Changed is called after Status has changed; it must not block. Nil: not.
	Changed func()
	// Open opens the WebSocket to an address of scheme http or https, within
	// ctx; nil: over the network.
	Open func(ctx context.Context, url string) (Socket, error)
}

// The times of a client, which notices a dead connection within 14 s.
const (
	connectTime  = 10 * time.Second // from dialling the hub to its welcome
	dialWait     = 2 * time.Second  // for Dial to wait for a connection to the hub
	pingAfter    = 6 * time.Second  // quiet on the connection before a ping
	deadAfter    = 13 * time.Second // quiet on the connection before it counts as dead
	probeTimeout = 3 * time.Second  // the same, after Wake
	writeTime    = 10 * time.Second // one write to the hub
	backoffMin   = 200 * time.Millisecond
	backoffMax   = 15 * time.Second
	steady       = 5 * time.Second // age of a connection that resets the back-off
)

// Status is how it stands with the hub.
type Status struct {
	Connected bool
	Since     time.Time // of the connection, or of its end; zero if there was none
	LastError error     // why there is no connection; nil while connected
	VAPIDKey  string    // the hub's, for a Web Push subscription; empty: it has none
}

// Client is one device's end of the hub route. Its methods are safe for
// concurrent use.
type Client struct {
	// Fixed after New.
	origin string
	host   string // of the URL, for addresses
	key    *device.Key
	allow  func() []device.ID
	log    *slog.Logger
	notify func()
	open   func(ctx context.Context, url string) (Socket, error)
	wake   chan struct{} // of capacity 1: connect now
	beside bool

	reached atomic.Bool  // the hub has been, once
	taken   chan *stream // opened by others

	// mu guards what follows. Nothing is waited for while it is held.
	mu         sync.Mutex
	session    *session // nil when not connected
	changed    chan struct{}
	status     Status
	allowed    []device.ID // as the hub was told last
	online     map[device.ID]bool
	finders    map[*finder]bool
	listeners  int
	listened   bool        // there was a listener
	rendezvous *rendezvous // the one that is open
}

// New returns a client that does nothing yet: see Run.
func New(c Config) (*Client, error) {
	origin, err := wire.ParseHubURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("hub %q: %w", wire.Show(c.URL), err)
	}
	client := &Client{
		origin: origin, host: strings.TrimPrefix(strings.TrimPrefix(origin, "https://"), "http://"),
		key: c.Key, allow: c.Allow, log: c.Log, notify: c.Changed, open: c.Open,
		beside: c.Beside, wake: make(chan struct{}, 1), taken: make(chan *stream, maxAccepted),
		changed: make(chan struct{}), online: map[device.ID]bool{}, finders: map[*finder]bool{},
	}
	if client.log == nil {
		client.log = slog.New(slog.DiscardHandler)
	}
	if client.open == nil {
		client.open = webSocket(c.RootCAs)
	}
	return client, nil
}

// Route returns the hub's route as it stands in invitations and in
// device.Peer.Routes: "hub:URL".
func Route(url string) string { return routePrefix + url }

// URL returns the hub's URL of a route string, as wire.ParseHubURL does, if it is one.
func URL(route string) (string, bool) {
	u, ok := strings.CutPrefix(route, routePrefix)
	if !ok {
		return "", false
	}
	u, err := wire.ParseHubURL(u)
	return u, err == nil
}

// Status returns how it stands with the hub.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Wake connects at once if there is no connection, and otherwise asks the hub
// for a sign of life: for when the machine has woken, the app has come to the
// foreground or something waits for the hub.
func (c *Client) Wake() {
	poke(c.wake)
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		poke(s.probe)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Refresh tells the hub whom this device allows now.
func (c *Client) Refresh() {
	allow := c.currentAllow()
	c.mu.Lock()
	s := c.session
	stale := s != nil && !slices.Equal(allow, c.allowed)
	if stale {
		c.setAllowedLocked(allow)
	}
	c.mu.Unlock()
	if stale {
		s.tell(hubwire.Message{Type: hubwire.TypeAllow, Allow: allow})
	}
}

func (c *Client) currentAllow() []device.ID {
	allow := slices.Clone(c.allow())
	return allow[:min(len(allow), hubwire.MaxAllowed)]
}

// setAllowedLocked notes what the hub is being told. Whoever is allowed no more
// is not told of any more either.
func (c *Client) setAllowedLocked(allow []device.ID) {
	c.allowed = allow
	for id := range c.online {
		if !slices.Contains(allow, id) {
			delete(c.online, id)
		}
	}
}

// WakePeer wakes a device that has no connection: the hub sends
// it a Web Push that names nobody. Errors: *Error, with
// hubwire.CodeNotSubscribed if the device has no subscription or does not allow
// this one.
func (c *Client) WakePeer(ctx context.Context, id device.ID) error {
	return c.request(ctx, hubwire.Message{Type: hubwire.TypeWake, Peer: &id})
}

// Subscribe gives the hub the subscription by which it may wake this device, as
// PushSubscription.toJSON() writes it; nil ends the last one.
func (c *Client) Subscribe(ctx context.Context, subscription json.RawMessage) error {
	if len(subscription) > hubwire.MaxSubscription {
		return fmt.Errorf("subscription over %d bytes", hubwire.MaxSubscription)
	}
	return c.request(ctx, hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: subscription})
}

// request asks the hub for something, waiting for a connection until ctx ends.
func (c *Client) request(ctx context.Context, m hubwire.Message) error {
	s, err := c.connected(ctx)
	if err != nil {
		return err
	}
	return s.request(ctx, m)
}

// connected returns the connection to the hub, waiting for one until ctx ends.
func (c *Client) connected(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, changed, last := c.session, c.changed, c.status.LastError
		c.mu.Unlock()
		if s != nil && s.reason() == nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if last != nil {
				return nil, fmt.Errorf("%w: %w", ErrNotConnected, last)
			}
			return nil, ErrNotConnected
		}
	}
}
