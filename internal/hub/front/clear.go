package front

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
)

// spoken is a listener that looks at how connections begin. Whoever speaks HTTP where TLS is
// spoken has typed the hub's name without https, which browsers then leave out, and is told
// where the hub is. A balancer that begins each with the PROXY protocol, which neither TLS
// nor HTTP is, is named in the log: its own says no more than that the hub answers nothing, or
// 400 (vitobotta/hetzner-k3s#87).
type spoken struct {
	net.Listener
	publicURL string
	tls       bool
	log       *slog.Logger
	// Of what was told in the log already.
	proxyProtocol, tlsInClear sync.Once
}

// Accept implements net.Listener.
func (l *spoken) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &unsaid{Conn: conn, listener: l}, nil
}

// unsaid is a connection of which it is not known what is spoken, until the first bytes.
type unsaid struct {
	net.Conn
	listener *spoken
	known    bool // of the one that reads
}

// The beginnings of the PROXY protocol, versions 1 and 2.
var proxyProtocol = [][]byte{[]byte("PROXY "), []byte("\r\n\r\n\x00\r\nQUIT\n")}

// tlsRecord is how a TLS handshake begins (RFC 8446 section 5.1).
const tlsRecord = 22

// Read implements net.Conn. What is HTTP in place of TLS is answered, and ends.
func (c *unsaid) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.known || n == 0 {
		return n, err
	}
	c.known = true
	if slices.ContainsFunc(proxyProtocol, func(begin []byte) bool { return bytes.HasPrefix(p[:n], begin) }) {
		c.listener.proxyProtocol.Do(func() {
			c.listener.log.Warn("somebody begins connections with the PROXY protocol, which the hub does not speak",
				"hint", "if it is your proxy or load balancer, switch that off there (HAProxy: no send-proxy); behind a proxy that ends TLS the hub reads X-Forwarded-For")
		})
		return 0, io.EOF
	}
	if !c.listener.tls && p[0] == tlsRecord {
		c.listener.tlsInClear.Do(func() {
			c.listener.log.Warn("somebody speaks TLS to the hub, which speaks HTTP at this address",
				"hint", "if it is your proxy, let it go to http://"+c.LocalAddr().String()+" and not to https")
		})
	}
	if !c.listener.tls || p[0] != 'G' && p[0] != 'H' { // GET, HEAD; TLS begins with a record of its own
		return n, err
	}
	c.answer(p[:n])
	return 0, io.EOF
}

// CloseWrite is for net/http, which lets who is refused read why.
func (c *unsaid) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// answer reads the request to its end, since a connection that is closed before loses
// what was answered, and leads it to the hub.
func (c *unsaid) answer(begun []byte) {
	all := io.LimitReader(io.MultiReader(bytes.NewReader(begun), c.Conn), maxHeaders)
	r, err := http.ReadRequest(bufio.NewReader(all))
	if err != nil {
		return
	}
	answer := http.Response{
		StatusCode: http.StatusForbidden, ProtoMajor: 1, ProtoMinor: 1, Close: true, Request: r,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Cache-Control": {"no-store"}},
	}
	text := fmt.Sprintf("The hub is at %s\n", c.listener.publicURL)
	switch {
	case cameByHTTPS(r):
		text = throughHTTP(c.listener.publicURL)
	case leads(r):
		answer.StatusCode = http.StatusTemporaryRedirect
		answer.Header.Set("Location", c.listener.publicURL+r.URL.RequestURI())
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader([]byte(text))), int64(len(text))
	_ = answer.Write(c.Conn) // the reader went away
}
