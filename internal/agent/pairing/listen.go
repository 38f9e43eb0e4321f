package pairing

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"vmux/internal/control"
	"vmux/internal/link/lan"
	"vmux/internal/link/relay"
	"vmux/internal/link/tcp"
)

// How many addresses fit into an invitation. With a hub none is needed, and few of
// them keep the QR code legible.
const (
	maxHosts       = 8
	maxHostsAndHub = 3
)

// listen listens at the hub, and at the hosts.
func (p *Pairing) listen(ctx context.Context, hosts []string) ([]net.Listener, []string, error) {
	if len(hosts) == 0 {
		hosts = p.Hosts
	}
	if len(hosts) == 0 {
		hosts = lan.OwnAddresses()
	}
	if p.Hub == nil {
		return listenAtHosts(ctx, hosts[:min(len(hosts), maxHosts)])
	}
	listeners, routes, err := listenAtHosts(ctx, hosts[:min(len(hosts), maxHostsAndHub)])
	if err != nil {
		p.Log.Warn("the invitation is for the hub alone", "error", err)
	}
	return append(listeners, p.Hub.Listener()), append([]string{relay.Route(p.HubURL)}, routes...), nil
}

// listenAtHosts listens at each host, on one port for all where that is free,
// and returns the routes to name.
func listenAtHosts(ctx context.Context, hosts []string) ([]net.Listener, []string, error) {
	var listeners []net.Listener
	var routes []string
	var errs []error
	port := "0"
	for _, host := range hosts {
		l, err := listenAt(ctx, host, port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		listeners = append(listeners, l)
		address := l.Addr().(*net.TCPAddr)
		port = strconv.Itoa(address.Port)
		routes = append(routes, lan.Route(address.String()))
	}
	if len(listeners) == 0 {
		return nil, nil, control.Errorf(control.CodeInvalid, "run `vmux pair` without --address, or with an address of this computer",
			"The agent cannot listen for the phone: %s.", strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
	}
	return listeners, routes, nil
}

// listenAt listens at HOST or HOST:PORT; another port serves as well when the
// wanted one is taken.
func listenAt(ctx context.Context, host, port string) (net.Listener, error) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		return tcp.Listen(ctx, net.JoinHostPort(h, p), tcp.LinkSegment)
	}
	l, err := tcp.Listen(ctx, net.JoinHostPort(host, port), tcp.LinkSegment)
	if err != nil && port != "0" {
		l, err = tcp.Listen(ctx, net.JoinHostPort(host, "0"), tcp.LinkSegment)
	}
	return l, err
}
