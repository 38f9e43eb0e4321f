//go:build !js

package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
	"vmux/internal/link/mdns"
	"vmux/internal/link/tcp"
	"vmux/internal/wire"
)

const (
	// maxHeader bounds the answer to the WebSocket's request, in bytes.
	maxHeader = 16 << 10
	// socketTime leaves room in connectTime for finding out why there was no
	// connection.
	socketTime = 8 * time.Second
)

// Way says how to connect to a hub, where its URL alone does not.
type Way struct {
	Roots   *x509.CertPool // whom to believe that it is the hub; nil: whom the system believes
	Address string         // HOST:PORT to connect to in place of the URL's; empty: that
}

// webSocket opens WebSockets over the network.
func webSocket(roots *x509.CertPool) func(context.Context, string) (Socket, error) {
	return func(ctx context.Context, url string) (Socket, error) { return OpenSocket(ctx, url, Way{Roots: roots}) }
}

// OpenSocket opens a WebSocket over the network, as Config.Open wants it.
// Redirections are not followed: the hub that was named is the one that is meant.
func OpenSocket(ctx context.Context, address string, way Way) (Socket, error) {
	client := way.Client()
	defer client.CloseIdleConnections() // of an answer that was no WebSocket
	var far progress
	connecting, enough := context.WithTimeout(far.watch(ctx), socketTime)
	defer enough() // the connection itself does not end with it
	c, response, err := websocket.Dial(connecting, address, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{hubwire.Subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, way.through(address, way.explain(ctx, address, response, err, &far))
	}
	if c.Subprotocol() != hubwire.Subprotocol {
		_ = c.CloseNow()
		return nil, way.through(address, &Fault{text: errNotHub.Error() + ": its WebSockets are of another kind", hint: hintSubprotocol, cause: errNotHub})
	}
	c.SetReadLimit(hubwire.MaxMessage)
	return &nativeSocket{conn: c, buf: make([]byte, 4<<10)}, nil
}

// Client returns an HTTP client that connects to the hub in this way, and follows
// no redirections. Call CloseIdleConnections in the end.
func (w Way) Client() *http.Client {
	first := &http.Transport{
		Proxy: w.proxy, DialContext: w.dial,
		TLSClientConfig:        &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxHeader,
		OnProxyConnectResponse: refusedByProxy,
	}
	return &http.Client{
		Transport:     newHellos(first),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (w Way) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if w.Address == "" && isLoopbackName(hostOf(address)) {
		return dialLoopback(ctx, tcp.Dialer(), network, address)
	}
	c, err := mdns.Dial(ctx, tcp.Dialer(), network, cmp.Or(w.Address, address))
	if err != nil {
		return tcp.DialTranslated(ctx, network, err)
	}
	return c, nil
}

// isLoopbackName reports whether a name is this machine's, whatever a resolver says
// (RFC 6761 section 6.3). Browsers know that of vmux.localhost, and glibc does; most
// name servers, which Go without C asks, do not.
func isLoopbackName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func dialLoopback(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c, err := dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		if c, err6 := dialer.DialContext(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
			return c, nil
		}
	}
	return c, err
}

// proxy is the user's; an address that is dialled is not to be found there, nor is
// this machine.
func (w Way) proxy(r *http.Request) (*url.URL, error) {
	if w.Address != "" || isLoopbackName(r.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// proxyFor is the user's proxy to an address, if there is one.
func (w Way) proxyFor(address string) (*url.URL, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, nil // whose error is another one's to tell
	}
	return w.proxy(r)
}

// refusedByProxy says who refuses what: net/http has the status's text alone.
func refusedByProxy(_ context.Context, _ *url.URL, connect *http.Request, r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		return nil
	}
	err := fmt.Errorf("it refuses to connect to %s: %s", wire.Show(connect.Host), wire.Show(r.Status))
	offers := r.Header.Values("Proxy-Authenticate")
	basic := func(offer string) bool { return len(offer) >= 5 && strings.EqualFold(offer[:5], "Basic") }
	if r.StatusCode == http.StatusProxyAuthRequired && len(offers) > 0 && !slices.ContainsFunc(offers, basic) {
		return fmt.Errorf("%w (%w)", err, errNoBasic)
	}
	return err
}

// errNoBasic is of a proxy that wants another login than net/http has.
var errNoBasic = errors.New("it wants NTLM, Negotiate or the like")

// through names the user's proxy in an error, without the password in its URL: it
// may be the proxy that fails, or that looks into the TLS, and not the hub.
func (w Way) through(address string, err error) error {
	proxy, e := w.proxyFor(address)
	switch {
	case e != nil:
		return fmt.Errorf("HTTPS_PROXY: %w", e)
	case w.Address == "" && misread(address, proxy):
		return fmt.Errorf("HTTPS_PROXY is misread, since characters such as # %% / in its user or password have to be written %%23 %%25 %%2F: %w", err)
	case proxy == nil:
		return err
	}
	return fmt.Errorf("through the proxy %s (HTTPS_PROXY): %w", wire.Show(proxy.Host), err)
}

// misread reports whether the user or password in the proxy's URL ends it early, or
// makes it one that net/http passes over without a word.
func misread(address string, proxy *url.URL) bool {
	set := cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))
	at := strings.LastIndexByte(set, '@')
	u, err := url.Parse(address)
	switch {
	case at < 0, err != nil, u.Scheme != "https" && u.Scheme != "wss", isLoopbackName(u.Hostname()):
		return false
	case proxy == nil: // also where NO_PROXY says so
		_, err := url.Parse(set)
		return err != nil
	}
	return proxy.Host == "" || !strings.HasPrefix(set[at+1:], proxy.Host)
}

var errNotHub = errors.New("no hub answers at this address")

// nativeSocket passes no contexts to the WebSocket: each would cost a goroutine's
// worth of bookkeeping per message, and Close ends everything.
type nativeSocket struct {
	conn *websocket.Conn
	buf  []byte
}

// Read implements Socket.
func (s *nativeSocket) Read() (text bool, message []byte, err error) {
	kind, r, err := s.conn.Reader(context.Background())
	if err != nil {
		return false, nil, err
	}
	for n := 0; ; {
		if n == len(s.buf) { // the read limit bounds this
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		k, err := r.Read(s.buf[n:])
		n += k
		if errors.Is(err, io.EOF) {
			return kind == websocket.MessageText, s.buf[:n], nil
		}
		if err != nil {
			return false, nil, err
		}
	}
}

// Write implements Socket.
func (s *nativeSocket) Write(text bool, message []byte) error {
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	return s.conn.Write(context.Background(), kind, message)
}

// Close implements Socket.
func (s *nativeSocket) Close() error { return s.conn.CloseNow() }

// allProxyAlone reports whether only ALL_PROXY names a proxy to this address, as curl
// and git read it. It stays unread: desktops write "socks://" into it for their own
// programs, which means nothing to net/http.
func allProxyAlone(u *url.URL) bool {
	set := func(name string) bool { return os.Getenv(name) != "" || os.Getenv(strings.ToLower(name)) != "" }
	return set("ALL_PROXY") && !set("HTTPS_PROXY") && !isLoopbackName(u.Hostname())
}
