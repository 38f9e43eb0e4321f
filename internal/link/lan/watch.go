package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// Watch calls changed whenever this machine's addresses have changed, until ctx
// ends: connections of before may be dead, and nothing on them says so.
func Watch(ctx context.Context, changed func()) {
	var s seen
	onChanges(ctx, func() (done bool) {
		if s.differ(net.InterfaceAddrs()) {
			changed()
		}
		return false
	})
}

// seen are the addresses that were there when they were looked at last.
type seen struct {
	known  bool
	before []string
}

// differ reports whether others are there than before. Without an answer of the
// system nothing has changed.
func (s *seen) differ(all []net.Addr, err error) bool {
	if err != nil {
		return false
	}
	now := routable(all)
	changed := s.known && !slices.Equal(s.before, now)
	s.known, s.before = true, now
	return changed
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

// onChanges calls look at once, and whenever interfaces or addresses of this machine
// may have changed, until look is done or ctx ends. The system tells of each change,
// and of those that it had no room to tell of (ENOBUFS); where it is not known to, the
// machine is looked at from time to time as well.
func onChanges(ctx context.Context, look func() (done bool)) {
	socket, err := openChanges()
	if err == nil {
		defer socket.Close()
		defer context.AfterFunc(ctx, func() { _ = socket.Close() })() // ends Read
	}
	message := make([]byte, 4096) // what it says is looked at, not read
	for ctx.Err() == nil && !look() {
		if err == nil {
			if lookEvery > 0 {
				_ = socket.SetReadDeadline(time.Now().Add(lookEvery))
			}
			_, failed := socket.Read(message)
			if failed == nil || errors.Is(failed, syscall.ENOBUFS) || errors.Is(failed, os.ErrDeadlineExceeded) {
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookWithout):
		}
	}
}

// lookWithout is how often a machine is looked at that tells of no change.
const lookWithout = 15 * time.Second
