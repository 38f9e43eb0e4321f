package lan

import (
	"os"
	"path/filepath"
	"strings"
)

// defaultInterfaces are those that have a default route.
func defaultInterfaces() []string {
	var names []string
	// proc(5): Iface, Destination, Gateway, …; in hexadecimal.
	if b, err := os.ReadFile("/proc/self/net/route"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
				names = append(names, f[0])
			}
		}
	}
	// Destination, its prefix length, …, the interface. lo has one that rejects.
	if b, err := os.ReadFile("/proc/self/net/ipv6_route"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 9 && f[0] == strings.Repeat("0", 32) && f[1] == "00" && f[9] != "lo" {
				names = append(names, f[9])
			}
		}
	}
	return names
}

func isBridge(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name, "bridge"))
	return err == nil
}
