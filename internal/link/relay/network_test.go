//go:build !js

package relay_test

import (
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// connTracker is a listener that can end what it accepted: a server does not end
// connections that it has handed over to WebSockets.
type connTracker struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *connTracker) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *connTracker) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}

// otherProtocol serves WebSockets of another kind.
func otherProtocol(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}})
	if err == nil {
		_ = c.CloseNow()
	}
}
