package nativephone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vmux/internal/link/lan"
	"vmux/internal/link/mdns"
	"vmux/internal/link/tcp"
)

// maxRoutes is how many addresses a computer is told at a pairing.
const maxRoutes = 8

// kept returns where the phone listened last, HOST:PORT, or "" if it never did.
// The port is kept since paired computers come back to it.
func (p *Phone) kept() (string, error) {
	b, err := p.dir.Get(listenDocument)
	if err != nil {
		return "", fmt.Errorf("load the listening address: %w", err)
	}
	address := strings.TrimSpace(string(b))
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", nil // what is damaged is chosen anew
	}
	return address, nil
}

// reserve returns where the phone listens, or, if it never did, will listen: a
// computer may be paired before the phone runs.
func (p *Phone) reserve(ctx context.Context) (string, error) {
	address, err := p.kept()
	if err != nil || address != "" {
		return address, err
	}
	l, err := p.listen(ctx, ":0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// listen listens at HOST:PORT, at all addresses if that is empty. Port 0 is the
// one of last time, or, if that is taken, another, which paired computers then
// have to find by DNS-SD.
func (p *Phone) listen(ctx context.Context, asked string) (net.Listener, error) {
	if asked == "" {
		asked = ":0"
	}
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: want HOST:PORT", asked)
	}
	last, err := p.kept()
	if err != nil {
		return nil, err
	}
	l, err := listenAt(ctx, host, port, last)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := p.dir.Put(listenDocument, []byte(l.Addr().String()+"\n")); err != nil {
		return nil, errors.Join(fmt.Errorf("keep the listening address: %w", err), l.Close())
	}
	return l, nil
}

func listenAt(ctx context.Context, host, port, last string) (net.Listener, error) {
	if _, usual, err := net.SplitHostPort(last); err == nil && port == "0" {
		if l, err := tcp.Listen(ctx, net.JoinHostPort(host, usual), tcp.LinkSegment); err == nil {
			return l, nil
		}
	}
	return tcp.Listen(ctx, net.JoinHostPort(host, port), tcp.LinkSegment)
}

// reachable returns the routes by which a computer may find the phone that
// listens at address: first the addresses that face the computer's own ones.
func reachable(ctx context.Context, address string, theirs []string) []string {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().IsUnspecified() {
		return []string{lan.Route(address)}
	}
	var routes []string
	for _, ip := range append(facing(ctx, theirs), interfaces()...) {
		r := lan.Route(net.JoinHostPort(ip.String(), strconv.Itoa(int(a.Port()))))
		if !slices.Contains(routes, r) && len(routes) < maxRoutes {
			routes = append(routes, r)
		}
	}
	return routes
}

// facing returns this machine's addresses from which packets to the routes
// would leave. Connecting a UDP socket sends nothing.
func facing(ctx context.Context, routes []string) []netip.Addr {
	var list []netip.Addr
	for _, r := range routes {
		a, ok := lan.Address(r)
		if !ok {
			continue
		}
		c, err := mdns.Dial(ctx, new(net.Dialer), "udp", a)
		if err != nil {
			continue
		}
		if local, ok := c.LocalAddr().(*net.UDPAddr); ok {
			list = append(list, local.AddrPort().Addr().Unmap())
		}
		_ = c.Close() // nothing was sent
	}
	return list
}

// interfaces returns the addresses that other machines may reach. Link-local
// ones mean nothing without a zone, which is this machine's own.
func interfaces() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list
}
