package front

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"vmux/internal/testkit"
)

// counted stands before an authority and counts the orders. It may answer them
// itself.
type counted struct {
	*httptest.Server
	orders  atomic.Int64
	limited atomic.Bool
}

// count has the hub of the configuration ask at a counter.
func count(t *testing.T, a *authority, config *Config) *counted {
	to, err := url.Parse("https://" + a.api)
	if err != nil {
		t.Fatal(err)
	}
	transport := a.client().Transport.(*http.Transport)
	transport.DisableKeepAlives = false // with it the proxy loses the ends of answers
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // Pebble names itself by it
		Transport: transport,
	}
	c := &counted{}
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "order-plz") && r.StatusCode == http.StatusCreated { // else Pebble wants another nonce
			c.orders.Add(1)
		}
		return nil
	}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "order-plz") && c.limited.Load() {
			c.orders.Add(1)
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many failed authorizations recently"}`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	config.ACMEDirectory = c.URL + "/dir"
	config.ACMERoots = testkit.WriteFile(t, "roots.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
	return c
}

// An authority that does not reach the hub refuses it. Each handshake made an order
// of its own then: eight in 140 seconds, and Let's Encrypt allows five failures in
// an hour (lua-resty-auto-ssl 161, boulder 2513 and 1801, win-acme 826). Orders are
// made on a schedule that outlives the hub; handshakes hear the reason.
func TestACMEIsNotAskedByHandshakes(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	counter := count(t, a, &c)
	a.start(1, 1) // it looks for the hub where nobody is
	f := openAt(t, c, "127.0.0.1")
	stop := serveOpened(t, f)
	a.until(func() bool { return strings.Contains(a.logged(), "the next order is made at") })
	for range 20 {
		if _, err := handshake(f, "hub.example", nil); err == nil {
			t.Fatal("a handshake without a certificate")
		}
	}
	_, err := f.acme.certificate(&tls.ClientHelloInfo{ServerName: "hub.example"})
	if err == nil || !strings.Contains(err.Error(), "no certificate yet: tls-alpn-01: ") || !strings.Contains(err.Error(), "Failed to connect to 127.0.0.1:1") {
		t.Errorf("a handshake hears %v", err)
	}
	if n := counter.orders.Load(); n != 1 {
		t.Errorf("%d orders", n)
	}
	if !strings.Contains(a.logged(), `msg="the certificate authority's answer" name=hub.example challenge=tls-alpn-01`) {
		t.Errorf("the log does not have the answer: %s", a.logged())
	}
	stop()

	// Whoever restarts the hub, again and again, makes no orders either.
	for range 3 {
		f = openAt(t, c, "127.0.0.1")
		stop = serveOpened(t, f)
		a.until(func() bool { return f.acme.said("hub.example", "the next order is made at") })
		stop()
	}
	if n := counter.orders.Load(); n != 1 {
		t.Errorf("%d orders after restarts", n)
	}
	// In two hours there are few, whatever comes.
	f = openAt(t, c, "127.0.0.1")
	serveOpened(t, f)
	for range 24 {
		a.clock.pass(5 * time.Minute)
		before := f.acme.looks.Load()
		a.until(func() bool { return f.acme.looks.Load() > before+1 })
	}
	if n := counter.orders.Load(); n != 3 { // after 20 and 60 minutes, or a little later
		t.Errorf("%d orders in two hours\n%s", n, a.logged())
	}
}

// said reports whether a handshake would hear these words.
func (w *acmeWay) said(name, words string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.reasons[name], words)
}

// A name that leads nowhere, or to somebody else, costs no order; once it leads
// here the hub need not be told.
func TestACMELooksFirst(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	counter := count(t, a, &c)
	f := openAt(t, c)
	var at atomic.Pointer[string]
	var asked atomic.Int64
	f.acme.lookup = func(context.Context, string) ([]netip.Addr, error) {
		asked.Add(1)
		if ip := at.Load(); ip != nil {
			return []netip.Addr{netip.MustParseAddr(*ip)}, nil
		}
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	anotherServer(t, "127.0.0.2", f.acme.tlsPort)
	a.start(f.Addr().(*net.TCPAddr).Port, 1)
	serveOpened(t, f)
	a.until(func() bool { return f.acme.said("hub.example", "DNS has no address for hub.example") })

	elsewhere, here := "127.0.0.2", "127.0.0.1"
	at.Store(&elsewhere)
	a.until(func() bool { return f.acme.said("hub.example", "where another server answers") })
	if n := counter.orders.Load(); n != 0 {
		t.Errorf("%d orders for a name that leads elsewhere", n)
	}
	at.Store(&here)
	a.obtained(f)
}

// A router answers on port 443 itself whoever comes from inside, and hands on what comes
// from outside; its port 80 it drops. The look alone must not keep the hub from the one
// way there is, or its certificate would never be renewed.
func TestACMEDoesNotBelieveItsLookForEver(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	c.ListenHTTP = "127.0.0.1:0"
	counter := count(t, a, &c)
	f := openAt(t, c, "127.0.0.2")
	anotherServer(t, "127.0.0.2", f.acme.tlsPort)
	a.start(f.Addr().(*net.TCPAddr).Port, 1) // it reaches the hub, by TLS only
	serveOpened(t, f)
	a.until(func() bool { return f.acme.said("hub.example", "the next order is made at") })
	a.clock.pass(firstRest * 3 / 2)
	a.until(func() bool { return strings.Contains(a.logged(), "until=") || counter.orders.Load() > 3 })
	if n := counter.orders.Load(); n != 3 { // by HTTP alone, and then by both
		t.Errorf("%d orders\n%s", n, a.logged())
	}
	if _, err := handshake(f, "hub.example", a.roots()); err != nil {
		t.Error(err)
	}
}

// An authority that names a time is left alone until then.
func TestACMELimited(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	counter := count(t, a, &c)
	counter.limited.Store(true)
	f := openAt(t, c, "127.0.0.1")
	a.start(f.Addr().(*net.TCPAddr).Port, 1)
	serveOpened(t, f)
	a.until(func() bool { return f.acme.said("hub.example", "too many failed authorizations recently") })
	counter.limited.Store(false)
	for range 3 {
		a.clock.pass(39 * time.Minute)
		before := f.acme.looks.Load()
		a.until(func() bool { return f.acme.looks.Load() > before+1 })
	}
	if n := counter.orders.Load(); n != 1 {
		t.Errorf("%d orders within the two hours", n)
	}
	a.clock.pass(10 * time.Minute)
	a.obtained(f)
}

// A certificate is renewed when a third of its life is left, while the old one serves.
func TestACMERenews(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	f := openAt(t, c, "127.0.0.1")
	a.start(f.Addr().(*net.TCPAddr).Port, 1)
	serveOpened(t, f)
	a.obtained(f)
	first := f.acme.current("hub.example")
	a.clock.pass(time.Until(renewal(first)) + time.Minute)
	a.until(func() bool { return f.acme.current("hub.example") != first })
}

// What costs nothing at the authority is tried again soon, what it refuses late.
func TestACMERests(t *testing.T) {
	now := time.Unix(1e9, 0)
	for range 100 {
		var refusedTry, unheard try
		last := now
		for i := range 10 {
			refusedTry = refusedTry.after(&acme.Error{StatusCode: 403, Detail: "no"}, last)
			if rested := refusedTry.Next.Sub(last); rested < firstRest || rested > mostRest*11/10 || i > 5 && rested < mostRest {
				t.Fatalf("after %d refusals %s", i+1, rested)
			}
			unheard = unheard.after(errors.New("no route to host"), now)
		}
		if rested := unheard.Next.Sub(now); len(unheard.Failed) > 0 || rested > firstRest*11/10 {
			t.Fatalf("an authority that is not reached: %s", rested)
		}
	}
	limited := try{}.after(errors.Join(&attempt{overTLS, &acme.AuthorizationError{}}, &attempt{overHTTP, &acme.Error{
		StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"86400"}},
	}}), now)
	if !limited.Limited || limited.Next.Sub(now) < 24*time.Hour {
		t.Errorf("limited: %+v", limited)
	}
	// What was written by a clock that was ahead is forgotten.
	w := &acmeWay{began: now}
	if why := w.notYet(try{Next: now.Add(365 * 24 * time.Hour)}, found{ways: []string{overTLS}}, now); why != "" {
		t.Errorf("a year ahead: %s", why)
	}
}

// anotherServer answers there, and not in TLS.
func anotherServer(t *testing.T, host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 another server\r\n"))
			conn.Close()
		}
	}()
}
