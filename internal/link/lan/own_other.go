//go:build !linux

package lan

import "net"

// defaultInterfaces are those from which the internet would be spoken to. Nothing
// is sent: a datagram's socket is only told where it would go.
func defaultInterfaces() []string {
	var names []string
	for network, outside := range map[string]string{"udp4": "192.0.2.1:9", "udp6": "[2001:db8::1]:9"} {
		c, err := net.Dial(network, outside)
		if err != nil {
			continue
		}
		from, ok := c.LocalAddr().(*net.UDPAddr)
		c.Close()
		if ok {
			names = append(names, holders(from.IP)...)
		}
	}
	return names
}

func holders(ip net.IP) (names []string) {
	interfaces, _ := net.Interfaces() // without them there is nothing to prefer
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				names = append(names, i.Name)
			}
		}
	}
	return names
}

// isBridge knows no more than the name says.
func isBridge(string) bool { return false }
