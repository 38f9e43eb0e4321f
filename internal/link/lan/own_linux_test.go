package lan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// insideEnv tells the test binary that it runs inside of the network made for it.
const insideEnv = "VMUX_TEST_OWN_ADDRESSES"

// manyNetworks is a developer's machine: nine bridges of docker, a VPN, a second
// card, and a LAN whose card comes last and has the default route.
const manyNetworks = `set -e
PATH=$PATH:/usr/sbin:/sbin
for i in 1 2 3 4 5 6 7 8 9; do
  ip link add br-00$i type bridge; ip address add 172.2$i.0.1/16 dev br-00$i; ip link set br-00$i up
done
ip link add office type bridge; ip address add 10.77.0.1/24 dev office; ip link set office up
ip link add wg0 type veth peer name to-wg0; ip link set to-wg0 up; ip address add 10.66.0.2/32 dev wg0; ip link set wg0 up
ip link add second type veth peer name to-second; ip link set to-second up; ip address add 192.168.50.5/24 dev second; ip link set second up
ip link add lan type veth peer name to-lan; ip link set to-lan up; ip address add 192.168.1.7/24 dev lan; ip link set lan up
ip address add fd00::7/64 dev lan nodad
ip route add default via 192.168.1.1
`

// An invitation has room for eight addresses, and with a hub for three: the
// LAN's has to be among them, whatever else the machine has.
func TestOwnAddresses(t *testing.T) {
	if !inNetwork(t, manyNetworks) {
		return
	}
	got := OwnAddresses()
	want := []string{"192.168.1.7", "fd00::7", "192.168.50.5"}
	if len(got) != 14 || !slices.Equal(got[:3], want) {
		t.Errorf("%q, want %q first", got, want)
	}
	// What is announced to the network is cut by who hears it.
	if told := current().addresses; len(told) != 14 || told[0] != "192.168.1.7" || strings.HasPrefix(told[2], "172.") {
		t.Errorf("announced: %q", told)
	}
	for i := 1; i <= 9; i++ {
		if a := fmt.Sprintf("172.2%d.0.1", i); !slices.Contains(got[3:], a) {
			t.Errorf("%s is not there, or too early", a)
		}
	}
}
