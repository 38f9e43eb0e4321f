//go:build !js

package hubtest

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
)

// ServeHTTP serves the hub's WebSocket, whatever the path.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{hubwire.Subprotocol}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	c.SetReadLimit(hubwire.MaxMessage)
	h.mu.Lock()
	h.connects++
	h.mu.Unlock()
	h.wg.Add(1)
	defer h.wg.Done()
	h.serve(webSocket{c})
}

type webSocket struct{ *websocket.Conn }

// Read implements socket.
func (s webSocket) Read() (text bool, message []byte, err error) {
	kind, b, err := s.Conn.Read(context.Background())
	return kind == websocket.MessageText, b, err
}

// Write implements socket.
func (s webSocket) Write(text bool, message []byte) error {
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	return s.Conn.Write(context.Background(), kind, message)
}

// Close implements socket.
func (s webSocket) Close() error { return s.CloseNow() }
