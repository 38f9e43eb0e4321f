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
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
	"vmux/internal/link/mdns"
	"vmux/internal/wire"
)

// maxHeader bounds the answer to the WebSocket's request, in bytes.
const maxHeader = 16 << 10

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
	c, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{hubwire.Subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, way.through(address, dialError(response, err))
	}
	if c.Subprotocol() != hubwire.Subprotocol {
		_ = c.CloseNow()
		return nil, errNotHub
	}
	c.SetReadLimit(hubwire.MaxMessage)
	return &nativeSocket{conn: c, buf: make([]byte, 4<<10)}, nil
}

// Client returns an HTTP client that connects to the hub in this way, and follows
// no redirections. Call CloseIdleConnections in the end.
func (w Way) Client() *http.Client {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if w.Address == "" && isLoopbackName(hostOf(address)) {
			return dialLoopback(ctx, dialer, network, address)
		}
		return mdns.Dial(ctx, dialer, network, cmp.Or(w.Address, address))
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: w.proxy, DialContext: dial,
			TLSClientConfig:        &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxHeader,
			OnProxyConnectResponse: refusedByProxy,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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

// refusedByProxy says who refuses what: net/http has the status's text alone.
func refusedByProxy(_ context.Context, _ *url.URL, connect *http.Request, r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("it refuses to connect to %s: %s", wire.Show(connect.Host), wire.Show(r.Status))
}

// through names the user's proxy in an error, without the password in its URL: it
// may be the proxy that fails, or that looks into the TLS, and not the hub.
func (w Way) through(address string, err error) error {
	r, e := http.NewRequest(http.MethodGet, address, nil)
	if e != nil {
		return err
	}
	proxy, e := w.proxy(r)
	switch {
	case e != nil:
		return fmt.Errorf("HTTPS_PROXY: %w", e)
	case proxy == nil:
		return err
	}
	return fmt.Errorf("through the proxy %s (HTTPS_PROXY): %w", wire.Show(proxy.Host), err)
}

var errNotHub = errors.New("no hub answers at this address")

// maxWords bounds what is shown of an answer that is no WebSocket, in bytes.
const maxWords = 300

// refusal is the answer's text, if it is one: what a hub says, or the proxy before it.
func refusal(r *http.Response) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	b, err := io.ReadAll(io.LimitReader(r.Body, maxWords))
	if kind != "text/plain" || err != nil || len(b) == 0 {
		return ""
	}
	return ": " + wire.Show(strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", " "))
}

func dialError(r *http.Response, err error) error {
	if r != nil && r.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%w: HTTP status %d%s", errNotHub, r.StatusCode, refusal(r))
	}
	// What happened, without the layers that it happened in: people read this.
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		if e.Op == "proxyconnect" {
			return e.Err
		}
		return e
	}
	return err
}

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
