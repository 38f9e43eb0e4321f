package hub

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// socket is a device's connection below the WebSocket. It knows when the device
// was last heard, whatever it said.
type socket struct {
	net.Conn
	start time.Time
	heard atomic.Int64 // since start, in nanoseconds
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.heard.Store(int64(time.Since(s.start)))
	}
	return n, err
}

// kill ends the connection without a word. Unlike Close of a TLS connection it
// does not wait for a peer that does not read.
func (s *socket) kill() {
	if t, ok := s.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = s.Close()
}

// upgrade hands the connection of a request to the WebSocket library as a
// socket, with buffers that suit ten thousand connections that mostly wait.
type upgrade struct {
	http.ResponseWriter
	start  time.Time
	socket *socket // once hijacked
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		_ = conn.Close() // data before the handshake: the handshake fails at its first byte
	}
	u.socket = &socket{Conn: conn, start: u.start}
	return u.socket, bufio.NewReadWriter(
		bufio.NewReaderSize(u.socket, readBufferSize), bufio.NewWriterSize(u.socket, writeBufferSize)), nil
}
