package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"vmux/internal/state"
)

// acmeTimeout bounds one request to the certificate authority.
const acmeTimeout = 30 * time.Second

// acmeWay obtains certificates and renews them (RFC 8555). The authority sees
// that the hub has the name by a TLS handshake on port 443 (RFC 8737) or by a
// request on port 80.
type acmeWay struct {
	manager autocert.Manager
	domains []string
	log     *slog.Logger
	ending  context.Context // ends with obtain's, and requests to the authority with it
	end     context.CancelFunc
}

func openACME(c Config) (*acmeWay, error) {
	for _, name := range c.ACMEDomains {
		if !strings.Contains(name, ".") || strings.ContainsAny(name, "*:/ ") {
			return nil, usage("--acme-domain: not a name to get a certificate for: %q", name)
		}
	}
	dir, err := state.OpenDir(filepath.Join(c.StateDir, "acme"))
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(c.ACMERoots)
	if err != nil {
		return nil, err
	}
	w := &acmeWay{domains: c.ACMEDomains, log: c.Log}
	w.ending, w.end = context.WithCancel(context.Background())
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: requestTime,
		IdleConnTimeout:     requestTime,
		ForceAttemptHTTP2:   true,
	}
	context.AfterFunc(w.ending, transport.CloseIdleConnections)
	directory := c.ACMEDirectory
	if directory == "" {
		directory = autocert.DefaultACMEDirectory
	}
	w.manager = autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(dir.Path()),
		HostPolicy: autocert.HostWhitelist(c.ACMEDomains...),
		Email:      c.ACMEEmail,
		Client: &acme.Client{
			DirectoryURL: directory,
			UserAgent:    "vmux-hub",
			HTTPClient:   &http.Client{Timeout: acmeTimeout, Transport: endingTransport{w.ending, transport}},
		},
	}
	return w, nil
}

// readRoots returns nil, the system's roots, if there is no file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the ACME authority's roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}

func (w *acmeWay) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return w.manager.GetCertificate(hello)
}

func (w *acmeWay) host() string { return w.domains[0] }

func (w *acmeWay) protocol() string { return acme.ALPNProto }

// answer answers the authority's HTTP-01 challenges. The authority asks at port
// 80; autocert would take any other port, after a forward, for another host.
func (w *acmeWay) answer(next http.Handler) http.Handler {
	answers := w.manager.HTTPHandler(next)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			r = r.Clone(r.Context())
			r.Host = host
		}
		answers.ServeHTTP(rw, r)
	})
}

// obtain asks for the certificates at the start, so that the first device need
// not wait and whoever runs the hub reads at once why there is none. It stays
// until ctx ends, since the authority is asked for renewals meanwhile.
func (w *acmeWay) obtain(ctx context.Context) {
	defer w.end()
	defer context.AfterFunc(ctx, w.end)()
	for _, name := range w.domains {
		c, err := w.manager.GetCertificate(&tls.ClientHelloInfo{
			ServerName:       name,
			SupportedCurves:  []tls.CurveID{tls.CurveP256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			CipherSuites:     []uint16{tls.TLS_AES_128_GCM_SHA256},
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Error("no certificate yet; the next connection tries again", "name", name, "error", err)
		default:
			w.log.Info("certificate", "name", name, "until", c.Leaf.NotAfter)
		}
	}
	<-ctx.Done()
}

// endingTransport ends requests with a context of its own: autocert takes none.
type endingTransport struct {
	ending context.Context
	base   http.RoundTripper
}

var errEnding = errors.New("the hub ends")

// RoundTrip implements http.RoundTripper.
func (t endingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.ending.Err() != nil {
		return nil, errEnding
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(t.ending, func() { cancel(errEnding) })
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel(err)
		return nil, err
	}
	resp.Body = endingBody{resp.Body, stop, cancel}
	return resp, nil
}

// endingBody lets go of the request's context when the answer was read.
type endingBody struct {
	io.ReadCloser
	stop   func() bool
	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (b endingBody) Close() error {
	b.stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
