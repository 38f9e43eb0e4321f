//go:build !js

package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/link/hubwire"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// What keeps a device from its hub is said, with what to do; the hints name
// nothing that is not so.
func TestFaults(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
		}
	}
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
	}
	for name, test := range map[string]struct {
		handler    http.HandlerFunc
		says, hint string
	}{
		"a page":               {html(200), "no hub answers at this address: HTTP status 200", "a network with a login page"},
		"a login elsewhere":    {to("https://sso.example/login?rd=hub"), "a login page answers in place of the hub: HTTP status 302, to https://sso.example", "let " + hubwire.Path + " through"},
		"a login on this host": {to("/oauth2/start"), "a login page answers in place of the hub: HTTP status 302", "let " + hubwire.Path + " through"},
		"a login required":     {html(401), "a login page answers in place of the hub: HTTP status 401", "let " + hubwire.Path + " through"},
		"a captive network":    {html(511), "a login page answers in place of the hub: HTTP status 511", "open http://127.0.0.1/ in a browser and sign in to the network"},
		"a challenge": {func(w http.ResponseWriter, r *http.Request) { // cloudflare/cloudflared#324, maziggy/bambuddy#1534
			w.Header().Set("Cf-Mitigated", "challenge")
			html(403)(w, r)
		}, "Cloudflare wants to see a browser in place of vmux: HTTP status 403", "let " + hubwire.Path + " pass without a challenge"},
		"a proxy without hub": {html(502), "no hub answers at this address: HTTP status 502", "start the hub behind that proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			_, err := OpenSocket(t.Context(), server.URL+hubwire.Path, Way{})
			said(t, err, test.says, test.hint)
			if !errors.Is(err, errNotHub) {
				t.Errorf("not told from others: %v", err)
			}
		})
	}
}

func said(t *testing.T, err error, says, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(wire.HintOf(err), hint) || hint == "" && wire.HintOf(err) != "" {
		t.Errorf("%v\nhint: %s\nwant %q, %q", err, wire.HintOf(err), says, hint)
	}
	if strings.Contains(wire.HintOf(err), "%") || len(wire.HintOf(err)) > wire.MaxNameSize {
		t.Errorf("hint: %s", wire.HintOf(err))
	}
}

// Certificates of a hub that nobody knows, of another machine, and beside a clock
// that is days ahead or behind.
func TestFaultsOfCertificates(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		host       string
		begin, end time.Duration
		known      bool
		says, hint string
	}{
		"unknown CA":      {"127.0.0.1", -time.Hour, time.Hour, false, `unknown authority; it is issued by "CN=127.0.0.1`, "--hub-ca FILE"},
		"another machine": {"portal.example", -time.Hour, time.Hour, false, `another machine answers in place of the hub: its certificate is for "portal.example"`, "a network with a login page"},
		"clock behind":    {"127.0.0.1", 72 * time.Hour, 96 * time.Hour, true, "is before", "compare this machine's date with a clock"},
		"clock ahead":     {"127.0.0.1", -96 * time.Hour, -72 * time.Hour, true, "is after", "compare this machine's date with a clock"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, roots := certificateFor(t, test.host, now.Add(test.begin), now.Add(test.end))
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = nil
			server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			server.StartTLS()
			defer server.Close()
			way := Way{}
			if test.known {
				way.Roots = roots
			}
			_, err := OpenSocket(t.Context(), server.URL+hubwire.Path, way)
			said(t, err, test.says, test.hint)
		})
	}
}

func certificateFor(t *testing.T, host string, from, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM := testkit.Certificate(t, func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotBefore, c.NotAfter = host, from, until
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	}, host)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return cert, roots
}

// A hub that shows certbot's cert.pem works in desktop browsers: a root would not help this
// machine, which lacks the certificate between (bitwarden/android#474). One that shows the
// whole chain, to a root that is not known here, is another's.
func TestFaultOfAnIncompleteChain(t *testing.T) {
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issuer, _ := certificateFor(t, "issuer.example", from, until)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "hub"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IssuingCertificateURL: []string{"http://ca.example/issuer.cer"},
	}, issuer.Leaf, &key.PublicKey, issuer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for hint, chain := range map[string][][]byte{"fullchain.pem": {der}, "--hub-ca FILE": {der, issuer.Certificate[0]}} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}}
		server.StartTLS()
		_, err := OpenSocket(t.Context(), server.URL+hubwire.Path, Way{})
		said(t, err, "unknown authority", hint)
		server.Close()
	}
}

// A name of multicast DNS is not looked for with what mostly does not know it.
func TestFaultOfALocalName(t *testing.T) {
	u, err := url.Parse("https://laptop.local:8722" + hubwire.Path)
	if err != nil {
		t.Fatal(err)
	}
	nobody := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no computer in this network answers to this name", Name: "laptop.local", IsNotFound: true}}
	said(t, Way{}.faultOf(u, nil, nobody, &progress{}), "lookup laptop.local: no computer in this network", "UDP port 5353 must pass")
}

// A name server that answers with a failure is there (ipfs/kubo#1094), and where macOS keeps a
// service from the local network the system's words are those of a network that is wrong
// (dharmab/skyeye#566, openclaw/openclaw#24018).
func TestFaultsOfTheSystem(t *testing.T) {
	u, err := url.Parse("https://hub.example:8722" + hubwire.Path)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, test := range []struct {
		err        error
		says, hint string
	}{
		{dial(&net.DNSError{Err: "server misbehaving", Name: "hub.example", Server: "127.0.0.53:53", IsTemporary: true}), "lookup hub.example on 127.0.0.53:53: server misbehaving", "the name server answers, with a failure"},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "hub.example", Server: "127.0.0.53:53", IsTimeout: true}), "i/o timeout", "no name server answers"},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "no route to host", "on macOS see that vmux may use the local network"},
	} {
		said(t, Way{}.faultOf(u, nil, test.err, &progress{}), test.says, test.hint)
	}
}

// A machine without any CA, as a small container, says so (docker-library/hello-world#86,
// dedis/cothority#1836): a root would be the hint for another.
func TestFaultWithoutCAs(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	if got := dialWith(t, server.URL+hubwire.Path, "SSL_CERT_FILE=/none", "SSL_CERT_DIR=/none"); !strings.Contains(got, "install the package ca-certificates") {
		t.Error(got)
	}
}

// What the page at the hub's name tells of the network, beside what else is known. A web
// site of the host's own leads elsewhere as a login page does, and hides no cause.
func TestPagesInPlaceOfAHub(t *testing.T) {
	u, err := url.Parse("https://hub.example:8722" + hubwire.Path)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(status int, header, value string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{header: {value}}, Request: &http.Request{URL: &url.URL{Scheme: "http", Host: "hub.example", Path: "/"}}}
	}
	const network = "this network answers with a page of its own in place of the hub"
	site, back := answer(302, "Location", "https://www.example/"), answer(301, "Location", "https://hub.example/")
	html, login := answer(200, "Content-Type", "text/html"), answer(511, "Content-Type", "text/html")
	for _, test := range []struct {
		fault      Fault
		page       *http.Response
		says, hint string
	}{
		{Fault{text: "refused", hint: hintRefused}, nil, "refused", hintRefused},
		{Fault{text: "refused", hint: hintRefused}, html, "refused", hintRefused},
		{Fault{text: "refused", hint: hintRefused}, back, "refused", hintRefused},
		{Fault{text: "refused", hint: hintRefused}, login, network, hintLoginPage},
		{Fault{text: "refused", hint: hintRefused}, site, "refused; by HTTP it leads to www.example", "if that is a network's login page, sign in at http://hub.example/; else " + hintRefused},
		{Fault{text: "expired", hint: hintClock}, site, "expired; by HTTP it leads to www.example", "if that is a network's login page, sign in at http://hub.example/; else " + hintClock},
		{Fault{text: "reset"}, site, "reset; by HTTP it leads to www.example", "if that is a network's login page, sign in at http://hub.example/"},
		{Fault{text: "another machine", hint: hintPortal}, site, network, hintLoginPage},
		{Fault{text: "another machine", hint: hintPortal}, html, network, hintLoginPage},
		{Fault{text: "another machine", hint: hintPortal}, back, "another machine", hintPortal},
	} {
		f := test.fault
		if f.judge(u, test.page); f.text != test.says || f.hint != test.hint {
			t.Errorf("%+v: %q, hint %q", test.fault, f.text, f.hint)
		}
		if len(f.hint) > wire.MaxNameSize {
			t.Errorf("%d bytes are not shown whole: %s", len(f.hint), f.hint)
		}
	}
}

// Ports at which something else listens, nothing does, or somebody who never says
// a word.
func TestFaultsOfConnections(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err := OpenSocket(t.Context(), strings.Replace(plain.URL, "http:", "https:", 1)+hubwire.Path, Way{})
	said(t, err, "what answers does not speak TLS", "a network with a login page")

	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	_, err = OpenSocket(untilAsked(t, mute), "https://"+mute.Addr().String()+hubwire.Path, Way{})
	said(t, err, "the connection stands, but TLS gets no answer", "curl -v https://"+mute.Addr().String())
	_, err = OpenSocket(untilAsked(t, mute), "http://"+mute.Addr().String()+hubwire.Path, Way{})
	said(t, err, "the server takes the connection and does not answer", "curl -v http://"+mute.Addr().String())

	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	_ = gone.Close()
	_, err = OpenSocket(t.Context(), "https://"+address+hubwire.Path, Way{})
	said(t, err, "connection refused", "start the hub")

	// As docker's proxy does for a container in which nothing listens (docker/for-mac#5407).
	ending, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ending.Close()
	go func() {
		for {
			c, err := ending.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	at := ending.Addr().String()
	_, err = OpenSocket(t.Context(), "https://"+at+hubwire.Path, Way{})
	said(t, err, "the connection is ended before TLS begins (", "see that the hub runs")
	_, err = OpenSocket(t.Context(), "http://"+at+hubwire.Path, Way{})
	said(t, err, "the connection is ended without an answer (", "see that the hub runs")

	// A hub that has no certificate yet (acme-dns/acme-dns#382, twisted/txacme#14).
	none := httptest.NewUnstartedServer(http.NotFoundHandler())
	none.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no certificate yet") }}
	none.StartTLS()
	defer none.Close()
	_, err = OpenSocket(t.Context(), none.URL+hubwire.Path, Way{})
	said(t, err, "remote error: tls: internal error", "the server has no certificate for this name, or none yet")
}

// patienceEnds is a context whose time is over once asked is closed: how long a busy
// machine takes until then does not matter.
type patienceEnds struct {
	context.Context
	asked chan struct{}
}

func (p patienceEnds) Done() <-chan struct{} { return p.asked }

func (p patienceEnds) Err() error {
	select {
	case <-p.asked:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// untilAsked is over when something has been asked at the listener, which says nothing.
func untilAsked(t *testing.T, l net.Listener) context.Context {
	t.Helper()
	p := patienceEnds{t.Context(), make(chan struct{})}
	go func() {
		defer close(p.asked)
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
		_, _ = c.Read(make([]byte, 1))
	}()
	return p
}
