// Package tcp opens the TCP connections of links and hubs, so that they pass
// networks that are not as they should be: a path that silently drops packets
// over its size, and a network that has IPv6 alone. It knows nothing of what is
// said over them.
package tcp

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Sizes of the segments, in bytes without headers. A path that drops what is
// longer than it carries, and whose routers' ICMP is dropped too, swallows the
// first long packet and all that repeat it: of a TLS handshake with ML-KEM that
// is the very first one. What each side says that it takes bounds what the other
// sends, so this is enough on one end.
const (
	// LinkSegment passes each IPv4 path (RFC 9293 section 3.7.1). Links carry
	// little, so the headers do not matter.
	LinkSegment = 536
	// PageSegment is for what serves whole programs to browsers too: it passes
	// paths of 1,040 bytes and more.
	PageSegment = 1000
)

// Dialer makes connections to a hub or another device.
func Dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         func(_, _ string, c syscall.RawConn) error { return limit(c, LinkSegment) },
	}
}

// Listen listens at HOST:PORT for connections of short segments.
func Listen(ctx context.Context, address string, segment int) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return limit(c, segment) }}
	lc.SetMultipathTCP(false) // which Linux before 6.17 gives no segment size
	return lc.Listen(ctx, "tcp", address)
}

// DialTranslated is for a dial that failed. Where there is IPv6 alone, and the
// address was one of IPv4, it connects by the network's translator (NAT64), if there
// is one: name servers of such networks translate names (RFC 6147), but nobody does
// addresses. Otherwise it returns the error of before.
func DialTranslated(ctx context.Context, network string, before error) (net.Conn, error) {
	four, unreachable := unreachable4(before)
	if !unreachable {
		return nil, before
	}
	six, ok := translated(ctx, net.DefaultResolver, four.Addr())
	if !ok {
		return nil, before
	}
	c, err := Dialer().DialContext(ctx, network, netip.AddrPortFrom(six, four.Port()).String())
	if err != nil {
		return nil, before
	}
	return c, nil
}
