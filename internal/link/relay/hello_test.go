//go:build !js

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/wire"
)

// Networks that end or drop a TLS handshake whose first message is long are passed by a
// short one (tailscale/tailscale#20777); the others have the long one.
func TestShortHello(t *testing.T) {
	before := helloTime
	defer func() { helloTime = before }()
	for what, lost := range map[string]func(*tls.ClientHelloInfo){
		"passed":  nil,
		"ended":   func(h *tls.ClientHelloInfo) { h.Conn.Close() },
		"dropped": func(h *tls.ClientHelloInfo) { _, _ = io.Copy(io.Discard, h.Conn) }, // until the other side gives up
	} {
		t.Run(what, func(t *testing.T) {
			helloTime = before
			if what == "dropped" {
				helloTime = 50 * time.Millisecond
			}
			long := func(curves []tls.CurveID) bool { return slices.Contains(curves, tls.X25519MLKEM768) }
			var curve tls.CurveID
			hub := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				curve = r.TLS.CurveID
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{hubwire.Subprotocol}})
				if err == nil {
					c.CloseNow()
				}
			}))
			cert, roots := certificateFor(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			hub.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if lost != nil && long(h.SupportedCurves) {
					lost(h)
					return nil, errors.New("lost")
				}
				return nil, nil
			}}
			hub.StartTLS()
			defer hub.Close()
			s, err := OpenSocket(t.Context(), hub.URL+hubwire.Path, Way{Roots: roots})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			if long([]tls.CurveID{curve}) != (lost == nil) {
				t.Errorf("key exchange %s", curve)
			}
		})
	}
}

// silent is a WebSocket through which nothing comes, until it is closed.
type silent struct {
	context.Context
	end context.CancelFunc
}

func (s silent) Read() (bool, []byte, error) { <-s.Done(); return false, nil, s.Err() }
func (s silent) Write(bool, []byte) error    { return nil }
func (s silent) Close() error                { s.end(); return nil }

// What holds back the messages of a WebSocket that it has let be opened is named
// (boostorg/beast#2937); it was "context deadline exceeded".
func TestSilentWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := device.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		open := func(context.Context, string) (Socket, error) {
			ctx, end := context.WithCancel(context.Background())
			return silent{ctx, end}, nil
		}
		c, err := New(Config{URL: "https://hub.example", Key: key, Open: open})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.dialHub(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the hub's messages do not come through it") || !strings.Contains(wire.HintOf(err), "virus scanner") {
			t.Errorf("%v; hint: %s", err, wire.HintOf(err))
		}
	})
}
