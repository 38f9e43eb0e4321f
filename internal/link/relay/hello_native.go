//go:build !js

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// helloTime is how long the first TLS handshake with the hub may take, while there is
// another way to begin it.
var helloTime = 3 * time.Second

// hellos begins TLS once more where the first message of it was lost. With ML-KEM that
// message is of 1.5 KB, in several packets, which some providers' and companies' firewalls
// drop or reset, since they look for the host's name in the first packet (tldr.fail,
// tailscale/tailscale#20777, canonical/lxd#14839). Without, it is in one. The hub's TLS is
// then one that a quantum computer opens some day; the devices' own TLS inside of it is not.
type hellos struct{ long, short *http.Transport }

func newHellos(first *http.Transport) *hellos {
	second := first.Clone()
	second.TLSClientConfig.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	first.TLSHandshakeTimeout = helloTime
	return &hellos{first, second}
}

// RoundTrip implements http.RoundTripper, for requests without a body.
func (h *hellos) RoundTrip(r *http.Request) (*http.Response, error) {
	var lost atomic.Bool
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { lost.Store(unheard(err)) },
	})
	resp, err := h.long.RoundTrip(r.WithContext(ctx))
	if err != nil && lost.Load() && r.Context().Err() == nil {
		return h.short.RoundTrip(r)
	}
	return resp, err
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (h *hellos) CloseIdleConnections() {
	h.long.CloseIdleConnections()
	h.short.CloseIdleConnections()
}

// unheard reports whether a handshake has failed without a word of the other side.
func unheard(err error) bool {
	wait, ok := errors.AsType[net.Error](err)
	return cut(err) || ok && wait.Timeout() && !errors.Is(err, context.DeadlineExceeded)
}
