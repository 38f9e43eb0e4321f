package front

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
)

// shared is what carriers and tailscale number their own networks with (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// near reports whether the request comes from this machine, as from a proxy that goes to
// its public address, or from a private network.
func near(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := peer.Addr().Unmap()
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && at.AddrPort().Addr().Unmap() == ip {
		return true
	}
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
func behindProxy(next http.Handler, publicURL string, log *slog.Logger) http.Handler {
	in := &inClear{publicURL: publicURL, log: log}
	var told sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !near(r) {
			told.Do(func() {
				log.Warn("refused who came past the proxy, or a proxy with a public address on another machine",
					"hint", "let the proxy reach the hub by a private address, or by a VPN's")
			})
			http.Error(w, "This hub is reached through its proxy: "+publicURL, http.StatusForbidden)
			return
		}
		if strings.HasPrefix(publicURL, "https:") && in.answer(w, r) {
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

// sentMark is added to the address that a browser is sent to, so that one which
// comes back "by http" is not sent there for ever: its proxy says so of every
// request.
const sentMark = "sent-to-https"

// inClear sends browsers to HTTPS that came to the proxy by HTTP.
type inClear struct {
	publicURL string
	log       *slog.Logger
	told      sync.Once
}

// answer answers a request that came in clear, or with the mark, and reports
// whether it was one. The proxy's word may be the scheme of a chain of proxies
// (the first entry is the browser's), and Traefik names that of a WebSocket.
// The redirections are temporary: browsers keep permanent ones, and would follow
// them still when the proxy was set right.
func (c *inClear) answer(w http.ResponseWriter, r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	scheme = strings.ToLower(strings.TrimSpace(scheme))
	plain, marked := scheme == "http" || scheme == "ws", r.URL.Query().Has(sentMark)
	switch {
	case !plain && !(marked && leads(r)):
		return false
	case plain && (marked || !leads(r)):
		c.told.Do(func() {
			c.log.Warn("the proxy says that requests come by http: if browsers use https, let it set the header X-Forwarded-Proto to https", "url", c.publicURL)
		})
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, c.words(), http.StatusForbidden)
		return true
	}
	query := r.URL.Query()
	query.Del(sentMark)
	if plain {
		query.Set(sentMark, "1")
	}
	to := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // so that http.Redirect writes no body
	http.Redirect(w, r, c.publicURL+strings.TrimSuffix(to.EscapedPath()+"?"+to.RawQuery, "?"), http.StatusTemporaryRedirect)
	_, _ = io.WriteString(w, c.words()+"\n")
	return true
}

func (c *inClear) words() string {
	return "The hub is at " + c.publicURL + ". Its proxy says that this request came by http.\n" +
		"hint: if you did use https, the proxy must set the header X-Forwarded-Proto to https (one that stands behind another proxy must pass on what that one says); see \"Behind a proxy\" in docs/running-a-hub.md"
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
