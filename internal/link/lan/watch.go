package lan

import (
	"context"
	"net"
	"slices"
	"time"
)

// Watch calls changed whenever this machine's addresses have changed, within
// seconds, until ctx ends: connections of before may be dead, and nothing on them
// says so.
func Watch(ctx context.Context, changed func()) {
	look := time.NewTicker(networkPoll)
	defer look.Stop()
	for before := ownAddresses(); ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if now := ownAddresses(); !slices.Equal(before, now) {
			before = now
			changed()
		}
	}
}

func ownAddresses() []string {
	all, _ := net.InterfaceAddrs() // without them nothing has changed
	var list []string
	for _, a := range all {
		list = append(list, a.String())
	}
	slices.Sort(list)
	return list
}
