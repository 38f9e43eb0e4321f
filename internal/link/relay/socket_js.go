package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
)

// webSocket opens the browser's WebSockets. The browser keeps the roots.
func webSocket(*x509.CertPool) func(context.Context, string) (Socket, error) {
	return func(ctx context.Context, url string) (Socket, error) {
		dialled := make(chan dialledSocket, 1)
		go func() {
			c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{hubwire.Subprotocol}})
			dialled <- dialledSocket{c, err}
		}()
		select {
		case d := <-dialled:
			if d.err != nil {
				return nil, d.err
			}
			return newPageSocket(d.conn)
		case <-ctx.Done():
			go func() {
				if d := <-dialled; d.err == nil {
					closeInPage(d.conn)
				}
			}()
			return nil, context.Cause(ctx)
		}
	}
}

type dialledSocket struct {
	conn *websocket.Conn
	err  error
}

var errNotHub = errors.New("no hub answers at this address")

// pageSocket is a browser's WebSocket. Closing one waits for the other side,
// which may have vanished, and so does reading with a context that ends: both
// are left to goroutines that the browser lets go within seconds.
type pageSocket struct {
	conn     *websocket.Conn
	messages chan pageMessage
	done     chan struct{}
	once     sync.Once
}

type pageMessage struct {
	text bool
	b    []byte
	err  error
}

func newPageSocket(c *websocket.Conn) (Socket, error) {
	if c.Subprotocol() != hubwire.Subprotocol {
		go closeInPage(c)
		return nil, errNotHub
	}
	c.SetReadLimit(hubwire.MaxMessage)
	s := &pageSocket{conn: c, messages: make(chan pageMessage), done: make(chan struct{})}
	go s.readAll()
	return s, nil
}

func (s *pageSocket) readAll() {
	for {
		kind, b, err := s.conn.Read(context.Background())
		select {
		case s.messages <- pageMessage{kind == websocket.MessageText, b, err}:
		case <-s.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read implements Socket.
func (s *pageSocket) Read() (text bool, message []byte, err error) {
	select {
	case m := <-s.messages:
		return m.text, m.b, m.err
	case <-s.done:
		return false, nil, net.ErrClosed
	}
}

// Write implements Socket. The browser buffers what the network does not take;
// what a phone has to say, links bound.
func (s *pageSocket) Write(text bool, message []byte) error {
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	return s.conn.Write(context.Background(), kind, message)
}

// Close implements Socket.
func (s *pageSocket) Close() error {
	s.once.Do(func() {
		close(s.done)
		go closeInPage(s.conn)
	})
	return nil
}

// closeInPage closes with the only code of RFC 6455 that browsers take from a page:
// CloseNow's own throws, and closes nothing (coder/websocket issue 478).
func closeInPage(c *websocket.Conn) { _ = c.Close(websocket.StatusNormalClosure, "") }
