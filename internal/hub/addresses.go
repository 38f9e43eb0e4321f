package hub

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// addresses bounds what one address can ask of the hub before anybody has
// proven anything. It remembers only addresses that are not back at rest, and
// at most maxAddresses: who has more can slow the others down, no more.
type addresses struct {
	limits Limits

	mu    sync.Mutex
	known map[netip.Addr]*address
}

type address struct {
	unproven int
	devices  int
	full     time.Duration // when it is back at its burst
	slowed   time.Duration // until when it is slowed
}

func newAddresses(l Limits) *addresses {
	return &addresses{limits: l, known: map[netip.Addr]*address{}}
}

// enter takes a place among the unproven connections, until leave.
func (a *addresses) enter(from netip.Addr, now time.Duration) (wait time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry := a.known[from]
	if entry == nil {
		if len(a.known) >= maxAddresses {
			a.forget(now)
		}
		if len(a.known) >= maxAddresses {
			return time.Second, false
		}
		entry = &address{}
		a.known[from] = entry
	}
	every, burst := a.limits.ConnectEvery, a.limits.ConnectBurst
	if now < entry.slowed {
		every, burst = a.limits.SlowedEvery, 1
	}
	full := max(entry.full, now) + every
	if over := full - now - time.Duration(burst)*every; over > 0 {
		return over, false
	}
	if entry.unproven >= a.limits.UnprovenPerAddress || entry.devices >= a.limits.DevicesPerAddress {
		return time.Second, false
	}
	entry.full = full
	entry.unproven++
	return 0, true
}

func (a *addresses) leave(from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry := a.known[from]; entry != nil {
		entry.unproven--
	}
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
		entry = &address{}
		a.known[from] = entry
	}
	entry.slowed = now + a.limits.SlowedFor
	entry.full = max(entry.full, now+a.limits.SlowedEvery)
}

// tidy forgets the addresses that are back at rest.
func (a *addresses) tidy(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(now)
}

func (a *addresses) forget(now time.Duration) {
	for from, entry := range a.known {
		if entry.unproven == 0 && entry.devices == 0 && entry.full <= now && entry.slowed <= now {
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
