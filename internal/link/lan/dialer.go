// Package lan is the route between devices of one network: TCP, to addresses
// that DNS-SD (RFC 6763, over multicast DNS, RFC 6762) tells or that a peer was
// last known at. It proves nothing about who is there: the link's handshake does.
package lan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/mdns"
	"vmux/internal/link/race"
	"vmux/internal/link/tcp"
)

const (
	routePrefix = "tcp:"
	// addressTime bounds one address, from the first packet to the end of the
	// handshake: hosts that drop packets must not hold up those behind them.
	addressTime = 5 * time.Second
	maxTries    = 16 // addresses of one dial
)

// Route returns the route string of a TCP address HOST:PORT.
func Route(address string) string { return routePrefix + address }

// Address returns the TCP address of a route string, if it is one.
func Address(route string) (string, bool) {
	a, ok := strings.CutPrefix(route, routePrefix)
	if !ok {
		return "", false
	}
	host, port, err := net.SplitHostPort(a)
	return a, err == nil && host != "" && port != "" && port != "0"
}

// Dialer is the link.Route of the local network. While Find runs, which a
// link.Node does by itself, it knows the devices that advertise themselves;
// without, or where multicast does not pass, last known addresses remain.
type Dialer struct {
	log    *slog.Logger
	browse bool

	mu   sync.Mutex
	seen map[string]Entry // by service instance
}

// NewDialer returns a Dialer; browse says whether Find may use multicast. A nil
// log discards.
func NewDialer(browse bool, log *slog.Logger) *Dialer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Dialer{log: log, browse: browse, seen: map[string]Entry{}}
}

// Name implements link.Route.
func (*Dialer) Name() string { return "lan" }

// Find implements link.Finder: it browses until ctx ends, or returns at once when the
// dialer was told not to browse.
func (d *Dialer) Find(ctx context.Context, found func(device.ID)) {
	if d.browse {
		browse(ctx, d.log, func(e Entry) {
			d.remember(e)
			found(e.ID)
		})
	}
}

func (d *Dialer) remember(e Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.seen, func(_ string, e Entry) bool { return time.Now().After(e.Expires) })
	if _, known := d.seen[e.Instance]; known || len(d.seen) < maxSeen {
		d.seen[e.Instance] = e
	}
}

// addresses returns where the peer may be: where it was and says that it is, where it says
// it is, and where it was. Anybody may say so in its name, and a machine with containers says
// twenty: that leaves room for where it was.
func (d *Dialer) addresses(peer device.Peer) []string {
	var said, was []string
	for _, r := range peer.Routes {
		if a, ok := Address(r); ok {
			was = append(was, a)
		}
	}
	d.mu.Lock()
	for _, e := range d.seen {
		if e.ID == peer.ID && time.Now().Before(e.Expires) {
			said = append(said, e.Addresses...)
		}
	}
	d.mu.Unlock()
	nearest(said, ownAddresses())
	said = slices.Compact(said)
	still := func(a string) bool { return slices.Contains(said, a) }
	var list []string
	for _, a := range was {
		if still(a) {
			list = append(list, a)
		}
	}
	list = append(list, said[:min(len(said), max(maxTries-len(was), maxTries/2))]...)
	list = append(list, was...)
	var tries []string
	for _, a := range list {
		if !slices.Contains(tries, a) && len(tries) < maxTries {
			tries = append(tries, a)
		}
	}
	return tries
}

// Dial implements link.Route. It tries the peer's addresses one after the
// other, each with a short head start before the next, and returns the first
// at which the peer's own device answers.
func (d *Dialer) Dial(ctx context.Context, peer device.Peer, secure link.Secure) (*tls.Conn, string, error) {
	list := d.addresses(peer)
	if len(list) == 0 {
		return nil, "", link.ErrNoRoute
	}
	won, way, errs := race.First(ctx, len(list), race.Stagger, func(ctx context.Context, way int) (*tls.Conn, error) {
		return try(ctx, list[way], secure)
	})
	if way < 0 {
		return nil, "", errors.Join(errs...)
	}
	return won, Route(list[way]), nil
}

func try(ctx context.Context, address string, secure link.Secure) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	raw, err := mdns.Dial(ctx, tcp.Dialer(), "tcp", address)
	if err != nil {
		return nil, err
	}
	c, err := secure(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return c, nil
}
