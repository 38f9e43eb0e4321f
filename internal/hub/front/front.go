// Package front is how a hub is reached: listeners, certificates, and who may
// say where a request comes from. It ends TLS with the browser and hands on
// plain requests; what these mean, and the TLS between devices that runs inside
// of them, is not its business.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"vmux/internal/link/tcp"
)

const (
	// requestTime bounds a TLS handshake, and a request with the body that nobody
	// but an attacker gives it; idleTime a connection without one, writeTime an
	// answer: enough for the app over a slow mobile network. Connections that became
	// WebSockets are their handler's.
	requestTime  = 10 * time.Second
	idleTime     = 2 * time.Minute
	writeTime    = 5 * time.Minute
	maxHeaders   = 64 << 10 // browsers send the cookies of a login before the hub, on localhost those of all that is there
	shutdownTime = 2 * time.Second
)

// Front is the hub's listeners. Open it, give it a handler with Serve.
type Front struct {
	config    Config
	log       *slog.Logger
	publicURL string
	listener  net.Listener // the hub's, with TLS if it has any
	plain     net.Listener // ListenHTTP's; nil if there is none

	certificates certificates // nil without TLS
	ca           *localCA     // nil but with LocalCA
	acme         *acmeWay     // nil but with ACMEDomains
}

// certificates is one way to have a certificate.
type certificates interface {
	// certificate is what tls.Config.GetCertificate is.
	certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// host is the name that stands in the public URL, unless it was given.
	host() string
}

// Open reads or makes the certificates and listens, so that Serve only has to
// answer and PublicURL is known. Call Serve or Close.
func Open(c Config) (*Front, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f := &Front{config: c, log: c.Log}
	if err := f.openWay(); err != nil {
		return nil, err
	}
	if err := f.listen(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Front) openWay() error {
	c := f.config
	switch {
	case c.CertFile != "":
		files, err := openCertFiles(c)
		if err != nil {
			return err
		}
		f.certificates = files
	case len(c.ACMEDomains) > 0:
		way, err := openACME(c)
		if err != nil {
			return err
		}
		f.certificates, f.acme = way, way
	case c.LocalCA:
		ca, err := openLocalCA(c)
		if err != nil {
			return err
		}
		f.certificates, f.ca = ca, ca
	}
	return nil
}

func (f *Front) listen() error {
	l, err := tcp.Listen(context.Background(), f.config.Listen, tcp.PageSegment)
	if err != nil {
		return &listenError{"--listen", fmt.Errorf("listen for the hub: %w", err)}
	}
	f.listener = l
	if err := f.listenHTTP(); err != nil {
		return err
	}
	host := ""
	if f.certificates != nil {
		host = f.certificates.host()
	}
	f.publicURL, err = f.config.publicURL(host, l.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return fmt.Errorf("%w (give --public-url)", err)
	}
	heard := &spoken{Listener: l, publicURL: f.publicURL, tls: f.certificates != nil, log: f.log}
	f.listener = heard
	if f.certificates != nil {
		f.listener = tls.NewListener(heard, f.tlsConfig())
	}
	return nil
}

// listenError is an address that cannot be listened at.
type listenError struct {
	flag string
	err  error
}

// Error implements error.
func (e *listenError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *listenError) Unwrap() error { return e.err }

// Hint tells what to do about it.
func (e *listenError) Hint() string {
	switch {
	case errors.Is(e.err, syscall.EACCES):
		return "ports below 1024 are not every user's: run the hub as its package's service, give its program the right (sudo setcap cap_net_bind_service=+ep FILE), or choose another port by " + e.flag
	case errors.Is(e.err, syscall.EADDRINUSE):
		return "another program has that port (sudo ss -ltnp shows which): end it, or choose another port by " + e.flag
	case errors.Is(e.err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address, or not yet, as a VPN's while it starts: choose another by " + e.flag
	}
	return ""
}

func (f *Front) listenHTTP() error {
	if f.config.ListenHTTP == "" {
		return nil
	}
	l, err := tcp.Listen(context.Background(), f.config.ListenHTTP, tcp.PageSegment)
	switch {
	case err == nil:
		f.plain = l
	case f.config.httpMayFail:
		f.log.Warn("the local CA is offered over HTTPS only", "error", err)
	default:
		return &listenError{"--listen-http", fmt.Errorf("listen for HTTP: %w", err)}
	}
	return nil
}

// tlsConfig is for browsers that have WebAuthn's PRF extension, and for vmux:
// all of them speak TLS 1.3.
func (f *Front) tlsConfig() *tls.Config {
	t := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: f.certificates.certificate,
	}
	if f.acme != nil {
		t.NextProtos = append(t.NextProtos, f.acme.protocol())
	}
	return t
}

// PublicURL returns where devices find the hub, in the form of wire.ParseHubURL.
func (f *Front) PublicURL() string { return f.publicURL }

// Addr returns the address that the hub listens on.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// InstallURL returns where phones find the local CA, or "" if there is none. It
// is plain HTTP if possible: a phone that has yet to install the root takes the
// hub's certificate for an attacker's.
func (f *Front) InstallURL() string {
	if f.ca == nil {
		return ""
	}
	if f.plain == nil {
		return f.publicURL + installPath
	}
	port := f.plain.Addr().(*net.TCPAddr).Port
	return "http://" + net.JoinHostPort(f.ca.host(), fmt.Sprint(port)) + installPath
}

// Fingerprint returns the SHA-256 of the local CA's root the way phones show it
// (pairs of hexadecimal digits), or "" if there is none. Who installs the root
// compares it with what the phone shows.
func (f *Front) Fingerprint() string {
	if f.ca == nil {
		return ""
	}
	return f.ca.fingerprint()
}

// Close ends listening without having served.
func (f *Front) Close() {
	for _, l := range []net.Listener{f.listener, f.plain} {
		if l != nil {
			l.Close()
		}
	}
}

// Serve answers with hub until ctx ends, then gives the requests under way a few
// seconds. The requests that hub gets have their client's address in RemoteAddr,
// also behind a proxy, and no X-Forwarded headers. WebSockets are hub's to end,
// before it ends ctx. Serve may be called once.
func (f *Front) Serve(ctx context.Context, hub http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	var wg sync.WaitGroup
	servers := []*http.Server{f.server(f.handler(hub))}
	listeners := []net.Listener{f.listener}
	if f.plain != nil {
		servers, listeners = append(servers, f.server(f.plainHandler())), append(listeners, f.plain)
	}
	for i, server := range servers {
		wg.Go(func() { errs <- server.Serve(listeners[i]) })
	}
	if f.acme != nil {
		wg.Go(func() { f.acme.obtain(ctx) })
	}
	if f.config.kept.Kept != "" {
		wg.Go(func() {
			f.config.kept.Watch(ctx, func(what, hint string) { f.log.Warn(what, "hint", hint) })
		})
	}
	var err error
	select {
	case err = <-errs:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	cancel()
	for _, server := range servers {
		wg.Go(func() { shutdown(server) })
	}
	wg.Wait()
	return err
}

func (f *Front) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    requestTime,
		IdleTimeout:    idleTime,
		WriteTimeout:   writeTime,
		MaxHeaderBytes: maxHeaders,
		ErrorLog:       log.New(&complaints{log: f.log}, "", 0),
	}
}

// complaints logs what an http.Server complains of. Anybody can cause most of it, by
// broken handshakes. That the hub can take no connections any more, as without open files
// left, is for who runs it, once in a while: it is tried each second.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex
	told time.Time
}

// Write implements io.Writer.
func (c *complaints) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !strings.HasPrefix(text, "http: Accept error") || time.Since(c.told) < time.Minute {
		c.log.Debug(text)
		return len(p), nil
	}
	c.told = time.Now()
	c.log.Warn("the hub takes no new connections at the moment", "reason", text,
		"hint", "each device is an open file: raise LimitNOFILE of its service, or ulimit -n")
	return len(p), nil
}

func shutdown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if errors.Is(server.Shutdown(ctx), context.DeadlineExceeded) {
		server.Close()
	}
}

// handler puts what this package serves, and knows, before the hub.
func (f *Front) handler(hub http.Handler) http.Handler {
	h := hub
	if f.ca != nil {
		h = f.ca.before(h, f.publicURL)
	}
	if f.strict() {
		h = withHSTS(h)
	}
	if f.config.BehindProxy {
		return behindProxy(h, f.publicURL, f.log)
	}
	return direct(h)
}

// strict reports whether browsers should forget about plain HTTP for the hub's
// host. They would do so for all of its ports, which is not the hub's to decide
// unless it has the host's own; and not where the certificate needs a root that
// may be missing.
func (f *Front) strict() bool {
	return f.certificates != nil && f.ca == nil && strings.Count(f.publicURL, ":") == 1
}

func withHSTS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		next.ServeHTTP(w, r)
	})
}

// plainHandler is what the listener without TLS answers.
func (f *Front) plainHandler() http.Handler {
	var h http.Handler = redirect(f.publicURL)
	if f.ca != nil {
		h = f.ca.before(h, f.publicURL)
	}
	if f.acme != nil {
		h = f.acme.answer(h)
	}
	return h
}

// redirect sends readers to the hub, for now: browsers keep what is permanent, and would
// go on to an address that the hub had before. Anything else came in clear by mistake,
// and must not be told that it works.
func redirect(publicURL string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case cameByHTTPS(r):
			http.Error(w, throughHTTP(publicURL), http.StatusForbidden)
			return
		case !leads(r):
			http.Error(w, "The hub is at "+publicURL, http.StatusForbidden)
			return
		}
		http.Redirect(w, r, publicURL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
}

// leads reports whether it is a reader's request, which can be sent to another address.
func leads(r *http.Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	return reads && r.Header.Get("Upgrade") == "" && strings.HasPrefix(r.URL.Path, "/")
}

// cameByHTTPS reports whether a proxy says that the browser has used https already, and it is
// the proxy that goes on by http, as Cloudflare's Flexible mode: to be sent to the hub's URL
// would bring such a browser back here for ever.
func cameByHTTPS(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(scheme), "https")
}

func throughHTTP(publicURL string) string {
	return "The hub is at " + publicURL + ", and a proxy goes to it by http.\n" +
		"hint: let the proxy go to the hub by https (Cloudflare: SSL/TLS, Full (strict)); for one beside the hub, start it with --behind-proxy\n"
}
