// Package mdns connects to hosts below .local, which is multicast DNS's (RFC 6762): Go's
// own resolver asks name servers for them, which do not know. It finds hosts and not
// services, which are package lan's business, and proves nothing about who answers:
// what runs over the connection does.
package mdns

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vmux/internal/link/race"
)

const (
	suffix = ".local"

	// patience bounds a search, of which the last question is sent after three
	// seconds (RFC 6762 section 5.2: one second, then twice that).
	patience = 4 * time.Second
	// together is how long further addresses are waited for after the first one: the
	// other family's, and those of other interfaces.
	together = 150 * time.Millisecond
	// serverAfter is when a name server is believed, which some networks have for
	// .local, and which others have invent an address for any name.
	serverAfter = time.Second
	// maxAddresses bounds what anybody in the network can make us dial.
	maxAddresses = 8
)

// IsLocal reports whether a host's name is multicast DNS's.
func IsLocal(host string) bool {
	name := canonical(host)
	return strings.HasSuffix(name, suffix) && name != suffix
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// Hint tells what to do if err says that a name below .local was not found; "" otherwise.
func Hint(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound && IsLocal(e.Name) {
		return "look whether that computer is on and in this network, and tells its name: on Linux avahi-daemon does, and UDP port 5353 must pass; or use a name that your router knows"
	}
	return ""
}

// Dial is d.DialContext, which also finds hosts below .local. It tries all of their
// addresses, each with a short head start before the next. A host that is not found is
// a *net.DNSError with IsNotFound.
func Dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !IsLocal(host) {
		return d.DialContext(ctx, network, address)
	}
	list := hostsFile(ctx, canonical(host))
	if len(list) == 0 {
		if list, err = lookup(ctx, canonical(host), sources); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return d.DialContext(ctx, network, address) // which says what is wrong
	}
	return dialFirst(ctx, d, network, port, list)
}

// dialFirst returns the connection to the address that answers first.
func dialFirst(ctx context.Context, d *net.Dialer, network, port string, list []netip.Addr) (net.Conn, error) {
	won, way, errs := race.First(ctx, len(list), race.Stagger, func(ctx context.Context, way int) (net.Conn, error) {
		return d.DialContext(ctx, network, net.JoinHostPort(list[way].String(), port))
	})
	if way < 0 {
		return nil, cmp.Or(errs...)
	}
	return won, nil
}

// answer is an address that somebody told.
type answer struct {
	ip     netip.Addr
	server bool // a name server, not the host itself
}

// source looks for a name, in lower case and without a dot at its end, until ctx ends.
type source func(ctx context.Context, name string, told func(answer))

// lookup asks all sources at once, and waits for them.
func lookup(ctx context.Context, name string, sources []source) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers, done := make(chan answer), make(chan struct{})
	var asking sync.WaitGroup
	for _, s := range sources {
		asking.Go(func() {
			s(ctx, name, func(a answer) {
				select {
				case answers <- a:
				case <-ctx.Done():
				}
			})
		})
	}
	go func() { asking.Wait(); close(done) }()
	found := collect(answers, done)
	cancel()
	<-done
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no computer in this network answers to this name", Name: name, IsNotFound: true}
	}
	return found, nil
}

// collect returns what hosts told, or else what name servers did.
func collect(answers <-chan answer, done <-chan struct{}) []netip.Addr {
	var hosts, servers []netip.Addr
	began := time.Now()
	enough, server := time.NewTimer(patience), time.NewTimer(serverAfter)
	defer enough.Stop()
	defer server.Stop()
	for {
		select {
		case a := <-answers:
			to := &hosts
			if a.server {
				to = &servers
			}
			if !usable(a.ip) || slices.Contains(*to, a.ip) || len(*to) == maxAddresses {
				continue
			}
			*to = append(*to, a.ip)
			switch {
			case !a.server && len(hosts) == 1:
				enough.Reset(together)
			case a.server && len(servers) == 1:
				server.Reset(max(together, serverAfter-time.Since(began)))
			}
			continue
		case <-server.C:
			if len(servers) == 0 || len(hosts) > 0 {
				continue
			}
		case <-enough.C:
		case <-done:
		}
		if len(hosts) == 0 {
			hosts = servers
		}
		slices.SortStableFunc(hosts, func(a, b netip.Addr) int { return cmp.Compare(order(a), order(b)) })
		return hosts
	}
}

// usable refuses what is no other host's address. A link-local one of IPv6 needs the
// interface behind which it is.
func usable(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLoopback() && !ip.Is4In6() &&
		(!ip.Is6() || !ip.IsLinkLocalUnicast() || ip.Zone() != "")
}

// order puts first what works in most homes.
func order(ip netip.Addr) int {
	switch {
	case ip.IsLinkLocalUnicast():
		return 2
	case ip.Is6():
		return 1
	}
	return 0
}

// hostsFile returns what this computer's own file of hosts says, which goes before
// everything else.
func hostsFile(ctx context.Context, name string) []netip.Addr {
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody is asked")
	}}
	list, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil
	}
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list[:min(len(list), maxAddresses)]
}

// systemResolver asks as Go does: name servers, on Linux.
func systemResolver(server bool) source {
	return func(ctx context.Context, name string, told func(answer)) {
		list, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name+".")
		for _, ip := range list {
			told(answer{ip.Unmap(), server})
		}
	}
}
