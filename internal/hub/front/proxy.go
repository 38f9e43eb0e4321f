package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// shared is what carriers and tailscale number their own networks with (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// near reports whether the address is of this machine or a private network.
func near(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || shared.Contains(ip)
}

// forwarded are the headers by which proxies tell about the client. Whoever
// else sends them lies.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip"}

func withoutForwarded(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	for _, name := range forwarded {
		r.Header.Del(name)
	}
	return r
}

// direct hands on requests of clients that nobody stands before.
func direct(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, withoutForwarded(r))
	})
}

// behindProxy hands on requests that come through a proxy nearby, with the
// client's address in RemoteAddr. Of X-Forwarded-For only the last entry counts:
// the proxy has written it, the others are the client's word.
func behindProxy(next http.Handler, publicURL string) http.Handler {
	toHTTPS := redirect(publicURL)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !near(peer.Addr()) {
			http.Error(w, "This hub is reached through its proxy: "+publicURL, http.StatusForbidden)
			return
		}
		if strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "http") && strings.HasPrefix(publicURL, "https:") {
			toHTTPS.ServeHTTP(w, r)
			return
		}
		client := lastForwarded(r.Header.Values("X-Forwarded-For"))
		r = withoutForwarded(r)
		if client.IsValid() {
			r.RemoteAddr = net.JoinHostPort(client.String(), "0")
		}
		next.ServeHTTP(w, r)
	})
}

// lastForwarded returns the last address of X-Forwarded-For, or the invalid one.
// Some proxies add a port.
func lastForwarded(headers []string) netip.Addr {
	if len(headers) == 0 {
		return netip.Addr{}
	}
	last := headers[len(headers)-1]
	last = strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
	if at, err := netip.ParseAddrPort(last); err == nil {
		return at.Addr().Unmap().WithZone("")
	}
	ip, err := netip.ParseAddr(strings.Trim(last, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}
