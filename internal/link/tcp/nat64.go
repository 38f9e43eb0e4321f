package tcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// unreachable4 returns the IPv4 address that a dial failed at because there is no
// way to it from this machine.
func unreachable4(err error) (netip.AddrPort, bool) {
	failed, ok := errors.AsType[*net.OpError](err)
	if !ok || !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EHOSTUNREACH) {
		return netip.AddrPort{}, false
	}
	to, ok := failed.Addr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	a := netip.AddrPortFrom(to.AddrPort().Addr().Unmap(), to.AddrPort().Port())
	return a, a.Addr().Is4() && !a.Addr().IsLoopback()
}

// resolver is a *net.Resolver.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// knownName has these two addresses (RFC 7050 section 8.2): an IPv6 address of it
// is a translator's.
const knownName = "ipv4only.arpa."

var knownAddresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

// places are where the bytes of an IPv4 address stand in the translator's, by the
// length of its prefix (RFC 6052 section 2.2), the usual one first.
var places = [][4]int{{12, 13, 14, 15}, {9, 10, 11, 12}, {7, 9, 10, 11}, {6, 7, 9, 10}, {5, 6, 7, 9}, {4, 5, 6, 7}}

// translated returns the address at which the network's translator stands for an
// IPv4 address, if the network has one (RFC 7050 section 3).
func translated(ctx context.Context, r resolver, four netip.Addr) (netip.Addr, bool) {
	list, err := r.LookupNetIP(ctx, "ip6", knownName)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, known := range list {
		six := known.As16()
		if known.Unmap().Is4() {
			continue
		}
		for _, place := range places {
			var at [4]byte
			for i, p := range place {
				at[i] = six[p]
			}
			if !slices.Contains(knownAddresses, netip.AddrFrom4(at)) {
				continue
			}
			for i, b := range four.As4() {
				six[place[i]] = b
			}
			return netip.AddrFrom16(six), true
		}
	}
	return netip.Addr{}, false
}
