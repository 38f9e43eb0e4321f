package lan

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// A new address is noticed. Containers that come and go, each with an address of its
// link, and a system that does not tell are none: a hub that does not answer within
// seconds of a change is given up.
func TestWatch(t *testing.T) {
	const home, docker = "192.0.2.1/24 fe80::1/64", "192.0.2.1/24 fe80::1/64 fe80::d0c:1/64"
	steps := []struct {
		addresses string
		changed   bool
	}{
		{"?", false}, {home, false}, {docker, false}, {home, false}, {"?", false}, {home, false},
		{"fe80::1/64 192.0.2.1/24", false}, {"198.51.100.7/24 fe80::1/64", true}, {"198.51.100.7/24 2001:db8::1/64", true}, {"", true}, {home, true},
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		told := make([]bool, len(steps))
		i := -1
		watch(ctx, func() ([]net.Addr, error) {
			if i++; i == len(steps) {
				cancel()
				return nil, errors.New("the end")
			}
			if steps[i].addresses == "?" {
				return nil, errors.New("not told")
			}
			var list []net.Addr
			for _, text := range strings.Fields(steps[i].addresses) {
				ip, n, err := net.ParseCIDR(text)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			return list, nil
		}, func() { told[i] = true })
		for n, s := range steps {
			if told[n] != s.changed {
				t.Errorf("step %d, %s: told %v", n, s.addresses, told[n])
			}
		}
	})
}
