package hub

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// addresses bounds what one address can ask of the hub before anybody has
// proven anything. It remembers only addresses that are not back at rest, and
// at most maxAddresses: who has more can slow the others down, no more.
type addresses struct {
	limits Limits

	mu       sync.Mutex
	known    map[netip.Addr]*address
	waits    map[netip.Addr]*address // those of known with unproven connections
	unproven int                     // of all
}

type address struct {
	unproven []*place // oldest first
	devices  int
	connects *rate.Limiter
	slow     *rate.Limiter // in place of connects until slowed; nil: never was
	slowed   time.Duration
}

func newAddresses(l Limits) *addresses {
	return &addresses{limits: l, known: map[netip.Addr]*address{}, waits: map[netip.Addr]*address{}}
}

// place is that of one connection among the unproven ones.
type place struct {
	from  netip.Addr
	since time.Duration

	// Guarded by addresses.mu.
	lost bool   // to another
	cut  func() // ends the connection; nil: it is not a WebSocket yet
}

// errFull is of a hub in which there is no place for anybody's connection.
var errFull = errors.New("the hub is full")

// errOften is of an address that connects too often, or has enough connections.
var errOften = errors.New("too many connections from this address")

// enter takes a place among the unproven connections, until leave. Where all are
// taken, the address that has the most loses its oldest one, unless that is the
// newcomer's: whoever holds places from many addresses keeps nobody out who comes
// from another one and proves himself at once.
func (a *addresses) enter(from netip.Addr, now time.Duration) (p *place, wait time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry := a.known[from]
	if entry == nil {
		if len(a.known) >= maxAddresses {
			a.forget(now)
		}
		if len(a.known) >= maxAddresses { // of which one customer can have as many, in IPv6
			a.forgetAway()
		}
		if len(a.known) >= maxAddresses {
			return nil, time.Second, errOften
		}
		entry = a.add(from)
	}
	if len(entry.unproven) >= a.limits.UnprovenPerAddress || entry.devices >= a.limits.DevicesPerAddress {
		return nil, time.Second, errOften
	}
	limit := entry.connects
	if now < entry.slowed {
		limit = entry.slow
	}
	turn := limit.ReserveN(instant(now), 1)
	if wait := turn.DelayFrom(instant(now)); wait > 0 {
		turn.CancelAt(instant(now))
		return nil, wait, errOften
	}
	if a.unproven >= a.limits.Unproven && !a.displace(len(entry.unproven)+1) {
		turn.CancelAt(instant(now))
		return nil, 5 * time.Second, errFull
	}
	p = &place{from: from, since: now}
	entry.unproven = append(entry.unproven, p)
	a.waits[from] = entry
	a.unproven++
	return p, 0, nil
}

// add notes an address that is not known yet. a.mu is held.
func (a *addresses) add(from netip.Addr) *address {
	entry := &address{connects: rate.NewLimiter(rate.Every(a.limits.ConnectEvery), a.limits.ConnectBurst)}
	a.known[from] = entry
	return entry
}

// instant is a time of the hub's clock, which begins at zero, for a limiter.
func instant(now time.Duration) time.Time { return time.Time{}.Add(now) }

// displace takes the oldest place of the address that has the most, if it has at
// least as many as the newcomer will have. a.mu is held.
func (a *addresses) displace(newcomer int) bool {
	var most *address
	for _, entry := range a.waits {
		if most == nil || len(entry.unproven) > len(most.unproven) ||
			len(entry.unproven) == len(most.unproven) && entry.unproven[0].since < most.unproven[0].since {
			most = entry
		}
	}
	if most == nil || len(most.unproven) < newcomer {
		return false
	}
	p := most.unproven[0]
	p.lost = true
	if p.cut != nil {
		p.cut()
	}
	a.remove(p)
	return true
}

// held says how to end the connection of a place, which may have been lost by now;
// nil: it is not to be ended any more.
func (a *addresses) held(p *place, cut func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.cut = cut
	if p.lost && cut != nil {
		cut()
	}
}

// leave gives the place back.
func (a *addresses) leave(p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !p.lost {
		a.remove(p)
	}
}

// remove takes a place out of the lists. a.mu is held.
func (a *addresses) remove(p *place) {
	entry := a.waits[p.from]
	entry.unproven = slices.DeleteFunc(entry.unproven, func(other *place) bool { return other == p })
	if len(entry.unproven) == 0 {
		delete(a.waits, p.from)
	}
	a.unproven--
}

// count notes that there is one proven device more of an address, or one less.
func (a *addresses) count(from netip.Addr, change int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry := a.known[from]; entry != nil { // it is not forgotten while it has devices
		entry.devices += change
	}
}

// slow lets an address connect rarely for a while.
func (a *addresses) slow(from netip.Addr, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry := a.known[from]
	if entry == nil {
		if len(a.known) >= maxAddresses {
			return
		}
		entry = a.add(from)
	}
	entry.slowed = now + a.limits.SlowedFor
	entry.slow = rate.NewLimiter(rate.Every(a.limits.SlowedEvery), 1)
	entry.slow.AllowN(instant(now), 1)
}

// tidy forgets the addresses that are back at rest.
func (a *addresses) tidy(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(now)
}

func (a *addresses) forget(now time.Duration) {
	for from, entry := range a.known {
		if len(entry.unproven) == 0 && entry.devices == 0 && entry.slowed <= now &&
			entry.connects.TokensAt(instant(now)) >= float64(a.limits.ConnectBurst) {
			delete(a.known, from)
		}
	}
}

// forgetAway forgets the addresses that have no connection, rested or not.
func (a *addresses) forgetAway() {
	for from, entry := range a.known {
		if len(entry.unproven) == 0 && entry.devices == 0 {
			delete(a.known, from)
		}
	}
}

// addressOf returns whom a request comes from, as far as limits go: an IPv4
// address, or the /64 of an IPv6 address, which is what one customer has. Whoever
// serves a hub behind a proxy puts the client's address into RemoteAddr.
func addressOf(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		prefix, _ := ip.Prefix(64)
		return prefix.Addr()
	}
	return ip
}
