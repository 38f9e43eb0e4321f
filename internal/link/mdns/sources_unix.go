//go:build !darwin && !windows

package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// Who is asked: besides everybody, the programs that have asked already, and that hear
// answers which a firewall keeps from us.
var sources = []source{askEverybody, askAvahi, askResolved, systemResolver(true)}

// Where they listen.
var (
	avahiSocket    = "/run/avahi-daemon/socket"
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
)

const maxReply = 64 << 10

// askAvahi asks avahi-daemon, one question per connection (its simple protocol, as
// nss-mdns speaks it): "+ INTERFACE PROTOCOL NAME ADDRESS".
func askAvahi(ctx context.Context, name string, told func(answer)) {
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, command := range []string{"RESOLVE-HOSTNAME-IPV4", "RESOLVE-HOSTNAME-IPV6"} {
		asking.Go(func() {
			reply, err := exchange(ctx, avahiSocket, command+" "+name+"\n", '\n')
			f := strings.Fields(reply)
			if err != nil || len(f) < 5 || f[0] != "+" {
				return
			}
			index, _ := strconv.Atoi(f[1])
			ip, err := netip.ParseAddr(f[4])
			if err == nil {
				told(answer{ip: zoned(ip, index)})
			}
		})
	}
}

// mdnsOnly keeps systemd-resolved from asking name servers (SD_RESOLVED_MDNS_IPV4 and
// SD_RESOLVED_MDNS_IPV6).
const mdnsOnly = 1<<3 | 1<<4

// askResolved asks systemd-resolved by its Varlink interface, io.systemd.Resolve.
func askResolved(ctx context.Context, name string, told func(answer)) {
	question, err := json.Marshal(map[string]any{
		"method": "io.systemd.Resolve.ResolveHostname", "parameters": map[string]any{"name": name, "flags": mdnsOnly},
	})
	if err != nil {
		return
	}
	reply, err := exchange(ctx, resolvedSocket, string(question)+"\x00", 0)
	if err != nil {
		return
	}
	var message struct {
		Parameters struct {
			Addresses []struct {
				IfIndex int   `json:"ifindex"`
				Address []int `json:"address"`
			} `json:"addresses"`
		} `json:"parameters"`
	}
	if json.Unmarshal([]byte(strings.TrimSuffix(reply, "\x00")), &message) != nil {
		return
	}
	for _, a := range message.Parameters.Addresses {
		b := make([]byte, 0, len(a.Address))
		for _, n := range a.Address {
			b = append(b, byte(n))
		}
		if ip, ok := netip.AddrFromSlice(b); ok {
			told(answer{ip: zoned(ip, a.IfIndex)})
		}
	}
}

// exchange sends a question and reads the answer up to its end.
func exchange(ctx context.Context, socket, question string, end byte) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := io.WriteString(c, question); err != nil {
		return "", fmt.Errorf("ask %s: %w", socket, err)
	}
	return bufio.NewReader(io.LimitReader(c, maxReply)).ReadString(end)
}

// zoned names the interface of a link-local address.
func zoned(ip netip.Addr, index int) netip.Addr {
	if !ip.Is6() || !ip.IsLinkLocalUnicast() {
		return ip
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return ip // of no use then
	}
	return ip.WithZone(i.Name)
}
