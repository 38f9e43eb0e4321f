package push

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// errNotPublic is why a connection was not made.
var errNotPublic = errors.New("the push service's address is not public")

// notPublic are the address blocks that lead to somebody's own network or to
// nothing, of those that netip has no word for (RFC 6890 and the IANA
// special-purpose registries). Blocks that carry an IPv4 address inside lead
// wherever that leads, so that none of them is let through.
var notPublic = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

// nat64 is how hosts without IPv4 reach it (RFC 6052); the last four bytes are
// the IPv4 address, and are judged as such.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// public reports whether the address is one of the public Internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLoopback() || ip.Zone() != "" {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// newClient returns a client that pushes go through. It connects to public
// addresses only, looked at after the name was resolved and before a packet is
// sent, so that a name which leads elsewhere a moment later gains nothing; it
// follows no redirect. With loopback roots it connects to loopback only.
//
// known: only the services of knownHosts are asked for. Nobody else has their names and
// certificates, so that these may be at any address: that of a proxy, which resolves them
// itself, or one that a VPN or proxy of this machine has made up for them, as Clash's
// 198.18.0.0/15 (openclaw#59395).
func newClient(loopback *x509.CertPool, known bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errNotPublic
		}
		if loopback != nil && at.Addr().IsLoopback() || loopback == nil && public(at.Addr()) && at.Port() == 443 {
			return nil
		}
		return errNotPublic
	}}
	dial := dialer.DialContext
	var proxy func(*http.Request) (*url.URL, error)
	if known {
		proxy = http.ProxyFromEnvironment
		dial = (&net.Dialer{Timeout: dialer.Timeout}).DialContext
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: loopback},
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  SendTimeout,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns:           16,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true, // Apple's service speaks nothing else
			// After a suspend or a change of the network a connection can be dead
			// without having ended, and HTTP/2 would put push after push on it until
			// the system's retransmissions end, in 15 minutes (golang/go#36026, #39750).
			HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second, WriteByteTimeout: 5 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// knownHosts are the push services of the browsers that people have.
var knownHosts = []string{
	"fcm.googleapis.com", "push.apple.com", "push.services.mozilla.com", "notify.windows.com",
}

// isKnown reports whether the endpoint is at one of them.
func isKnown(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && under(u.Hostname(), knownHosts...)
}
