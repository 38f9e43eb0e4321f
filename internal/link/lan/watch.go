package lan

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Watch calls changed whenever this machine's addresses have changed, within
// seconds, until ctx ends: connections of before may be dead, and nothing on them
// says so.
func Watch(ctx context.Context, changed func()) { watch(ctx, net.InterfaceAddrs, changed) }

func watch(ctx context.Context, addresses func() ([]net.Addr, error), changed func()) {
	look := time.NewTicker(networkPoll)
	defer look.Stop()
	var before []string
	for known := false; ; {
		if all, err := addresses(); err == nil { // without them nothing has changed
			now := routable(all)
			if known && !slices.Equal(before, now) {
				changed()
			}
			before, known = now, true
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// routable leaves out the addresses of a link alone: each container that starts or
// ends brings or takes one, and Chrome lost its connections each time (docker/for-linux
// 914).
func routable(all []net.Addr) []string {
	var list []string
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, a.String())
		}
	}
	slices.Sort(list)
	return list
}
