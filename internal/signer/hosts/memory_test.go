package hosts

import (
	"testing"

	"vmux/internal/wire"
)

// Another port is another server, and an address of IPv6 is no name with a port.
func TestHostsThatAreNotAlike(t *testing.T) {
	for _, other := range []string{"prod:2222", "[prod]:2222", "prod.example", "fe80::22", "2prod", ""} {
		for _, name := range []string{"prod", "fe80::"} {
			if alike(wire.Clean(name), wire.Clean(other)) {
				t.Errorf("%q is taken for %q", other, name)
			}
		}
	}
	for _, other := range []string{"[fe80::22]", "[fe80::22]:22", "FE80::22"} {
		if !alike(wire.Clean("fe80::22"), wire.Clean(other)) {
			t.Errorf("%q is not fe80::22", other)
		}
	}
}
