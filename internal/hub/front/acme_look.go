package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// lookTime bounds one connection of a look.
const lookTime = 3 * time.Second

// found is what a look for the hub's own name has found.
type found struct {
	// ways are the challenges that are worth an order, those first by which the
	// hub has reached itself.
	ways   []string
	proven bool // there is one of those
	// why says, where there are no ways, what the name leads to.
	why string
}

// look finds out whether the name leads here, as the authority is going to. What
// it cannot tell, it does not count: many routers let nobody inside reach their own
// outside, and some machines cannot resolve public names.
func (w *acmeWay) look(ctx context.Context, name string) found {
	addresses, err := w.lookup(ctx, name)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return found{why: "DNS has no address for " + name}
	}
	var f found
	var unknown, elsewhere []string
	for _, way := range w.open() {
		here, other := w.lookAt(ctx, name, way, addresses)
		switch {
		case other != "":
			elsewhere = append(elsewhere, other)
		case here:
			f.ways = append(f.ways, way)
		default:
			unknown = append(unknown, way)
		}
	}
	f.proven = len(f.ways) > 0
	f.ways = append(f.ways, unknown...)
	if len(f.ways) == 0 {
		f.why = strings.Join(elsewhere, "; ")
	}
	return f
}

// open returns the challenges that the hub has a listener for.
func (w *acmeWay) open() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.http {
		return []string{overTLS, overHTTP}
	}
	return []string{overTLS}
}

// lookAt connects to each address. One where somebody else answers is enough: the
// authority may choose it.
func (w *acmeWay) lookAt(ctx context.Context, name, way string, addresses []netip.Addr) (here bool, other string) {
	for _, ip := range addresses {
		look, port := w.lookHTTP, w.httpPort
		if way == overTLS {
			look, port = w.lookTLS, w.tlsPort
		}
		at := net.JoinHostPort(ip.Unmap().String(), port)
		itself, answered := look(ctx, name, at)
		here = here || itself
		if answered && !itself {
			return false, fmt.Sprintf("%s leads to %s, where another server answers", name, at)
		}
	}
	return here, ""
}

func (w *acmeWay) lookTLS(ctx context.Context, name, at string) (here, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return false, false
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{
		ServerName: name, NextProtos: []string{acme.ALPNProto},
		InsecureSkipVerify: true, // it is compared below, with the only one it may be
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return false, ctx.Err() == nil
	}
	peer := c.ConnectionState().PeerCertificates
	return len(peer) == 1 && slices.Equal(peer[0].Raw, w.own.Certificate[0]), true
}

func (w *acmeWay) lookHTTP(ctx context.Context, name, at string) (here, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+w.ownPath(), nil)
	if err != nil {
		return false, false
	}
	r.Host = name
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return false, false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return err == nil && string(b) == w.ownAnswer, true
}

func (w *acmeWay) ownPath() string { return answerPath + w.ownToken }
