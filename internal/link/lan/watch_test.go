package lan

import (
	"errors"
	"net"
	"strings"
	"testing"
)

// A new address is noticed. Containers that come and go, each with an address of its
// link, and a system that does not tell are none: a hub that does not answer within
// seconds of a change is given up.
func TestNewAddressesAreTold(t *testing.T) {
	const home, docker = "192.0.2.1/24 fe80::1/64", "192.0.2.1/24 fe80::1/64 fe80::d0c:1/64"
	var s seen
	for n, step := range []struct {
		addresses string
		changed   bool
	}{
		{"?", false}, {home, false}, {docker, false}, {home, false}, {"?", false}, {home, false},
		{"fe80::1/64 192.0.2.1/24", false}, {"198.51.100.7/24 fe80::1/64", true}, {"198.51.100.7/24 2001:db8::1/64", true}, {"", true}, {home, true},
	} {
		var list []net.Addr
		var err error
		if step.addresses == "?" {
			err = errors.New("not told")
		} else {
			for _, text := range strings.Fields(step.addresses) {
				ip, n, err := net.ParseCIDR(text)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
			}
		}
		if got := s.differ(list, err); got != step.changed {
			t.Errorf("step %d, %s: told %v", n, step.addresses, got)
		}
	}
}
