package pairpage

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ownUser reports whether the connection from there to here is of this user's, as the
// kernel's list of connections has it (proc_net_tcp). One that is not found is not.
func ownUser(there, here string) bool {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return false
	}
	defer f.Close()
	return userOf(f, there, here) == strconv.Itoa(os.Getuid())
}

// userOf returns the user ID of the socket at from that is connected with to, or "".
func userOf(list io.Reader, from, to string) string {
	local, remote := kernelText(from), kernelText(to)
	for lines := bufio.NewScanner(list); lines.Scan(); {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
		f := strings.Fields(lines.Text())
		if len(f) > 7 && f[1] == local && f[2] == remote {
			return f[7]
		}
	}
	return ""
}

// kernelText is an IPv4 address and port as that list has them: the address as a number
// in the machine's order, which is little-endian wherever this is built for.
func kernelText(address string) string {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Is4() {
		return ""
	}
	b := a.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], a.Port())
}
