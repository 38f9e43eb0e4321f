package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
)

// spoken is a listener below TLS. Whoever speaks HTTP there has typed the hub's name
// without https, which browsers then leave out, and is told where the hub is.
type spoken struct {
	net.Listener
	publicURL string
}

// Accept implements net.Listener.
func (l spoken) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &unsaid{Conn: conn, publicURL: l.publicURL}, nil
}

// unsaid is a connection of which it is not known what is spoken, until the first bytes.
type unsaid struct {
	net.Conn
	publicURL string
	known     bool // of the one that reads
}

// Read implements net.Conn. What is HTTP is answered, and ends.
func (c *unsaid) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.known || n == 0 {
		return n, err
	}
	c.known = true
	if p[0] != 'G' && p[0] != 'H' { // GET, HEAD; TLS begins with a record of its own
		return n, err
	}
	c.answer(p[:n])
	return 0, io.EOF
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
	if leads(r) {
		answer.StatusCode = http.StatusTemporaryRedirect
		answer.Header.Set("Location", c.publicURL+r.URL.RequestURI())
	}
	text := fmt.Sprintf("The hub is at %s\n", c.publicURL)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader([]byte(text))), int64(len(text))
	_ = answer.Write(c.Conn) // the reader went away
}
