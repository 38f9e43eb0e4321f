package lan

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// ownAddress is one address of this machine with its network, and how likely a phone can
// reach it.
type ownAddress struct {
	netip.Prefix
	near near
}

type near int

const (
	nearLAN   near = iota // of an interface that leads to the internet: the LAN
	nearOther             // of another one
	nearNone              // of no network of this machine
	nearInner             // of a bridge to containers or virtual machines, or a tunnel
)

// OwnAddresses are this machine's addresses that another one can use, the
// likeliest first, since an invitation names a few only: those of the default
// route's interfaces, then others, then bridges and tunnels, of which there may be
// many; IPv4 before IPv6. Link-local ones mean nothing elsewhere. Loopback is
// named only when there is nothing else.
func OwnAddresses() []string {
	var texts []string
	for _, o := range ownAddresses() {
		texts = append(texts, o.Addr().String())
	}
	if len(texts) == 0 {
		return []string{"127.0.0.1"}
	}
	return texts
}

func ownAddresses() []ownAddress {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var list []ownAddress
	routed := defaultInterfaces()
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		r := nearOf(i, slices.Contains(routed, i.Name))
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().IsGlobalUnicast() {
				list = append(list, ownAddress{prefix, r})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ownAddress) int {
		return cmp.Or(cmp.Compare(a.near, b.near), cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()))
	})
	return list
}

// nearest orders what another machine says of its addresses, HOST:PORT: those of the networks
// that this one is in come first. Those in its networks of containers come last, for there
// both machines have the same numbers.
func nearest(list []string, own []ownAddress) {
	of := func(address string) near {
		at, err := netip.ParseAddrPort(address)
		for _, o := range own { // the likeliest first
			if err == nil && o.Masked().Contains(at.Addr()) {
				return o.near
			}
		}
		return nearNone
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(of(a), of(b)), cmp.Compare(a, b)) })
}

// bridges and tunnels are known by the names that programs give them.
var (
	bridges = []string{
		"docker", "br-", "bridge", "virbr", "veth", "vnet", "vmnet", "vboxnet", "lxc", "lxd", "incus",
		"cni", "flannel", "cali", "cilium", "podman", "vEthernet", "awdl", "llw",
	}
	tunnels = []string{"utun", "tun", "tap", "wg", "tailscale", "zt", "ppp", "ipsec", "gif", "stf", "nebula"}
)

// nearOf judges an interface. A bridge with the default route is the LAN, as on a
// host of virtual machines; a tunnel with it is a VPN, where no phone is.
func nearOf(i net.Interface, routed bool) near {
	named := func(prefixes []string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(i.Name, p) })
	}
	switch {
	case i.Flags&net.FlagPointToPoint != 0 || named(tunnels):
		return nearInner
	case routed:
		return nearLAN
	case named(bridges) || isBridge(i.Name):
		return nearInner
	}
	return nearOther
}
