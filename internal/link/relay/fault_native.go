//go:build !js

package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"vmux/internal/link/hubwire"
	"vmux/internal/link/mdns"
	"vmux/internal/wire"
)

// What to do about a fault. Each is true whatever the cause was: where there may
// be several, it names them.
const (
	hintLoginPage = "open http://%s/ in a browser and sign in to the network; where a login for people (SSO) stands before the hub, let " + hubwire.Path + " through without one"
	hintPortal    = "a network with a login page (hotel, train, guest Wi-Fi) does that: open http://%s/ in a browser and sign in; if there is none, see that the hub's address is right"
	hintCA        = "if that is your hub's own CA, or your company's, which looks into TLS, give its root: --hub-ca FILE"
	hintNoCAs     = "this machine knows no CA at all: install the package ca-certificates; if the hub has a CA of its own, give its root: --hub-ca FILE"
	hintChain     = "the hub sends its certificate without that of its issuer, which browsers on computers fetch for themselves: let the hub, or the proxy before it, have the whole chain (certbot: fullchain.pem, not cert.pem)"
	hintClock     = "compare this machine's date with a clock (timedatectl set-ntp true sets it); if it is right, the hub's certificate has to be renewed"
	hintName      = "see that this machine is online and that the name is spelled right: getent hosts %s"
	hintSilent    = "see that this machine is online; else a firewall here, there or between drops the packets: curl -v %s"
	hintRefused   = "start the hub, or see that the address and port are right; a network with a login page refuses as well until you sign in to it"
	hintAnswers   = "the name server answers, with a failure: of its own, of those that it asks, or of DNSSEC; compare getent hosts %s on another network"
	hintNoWay     = "that machine is off or in another network, or a firewall refuses; on macOS see that vmux may use the local network: System Settings, Privacy & Security, Local Network"
	// Seen of them: moby's docker-proxy, ssh -L, balancers without a server behind.
	hintCut = "see that the hub runs: a container's published port, a tunnel or a load balancer takes connections without one; a firewall that looks into TLS ends them, too: curl -v %s"
	// vmux-hub and Caddy say internal error, nginx unrecognized name, Cloudflare handshake failure.
	hintNoCertificate = "the server has no certificate for this name, or none yet: its log says why, or that of the proxy before it; else see that the name is spelled right"
	hintNoNetwork     = "connect this machine to a network; on one of IPv6 alone the hub needs an IPv6 address, or the network a NAT64"
	hintPath          = "a firewall or VPN that lets connections begin and then drops packets does that (try without it, or with an MTU of 1280), and so does a server that hangs: curl -v %s"
	hintHTTPProxy     = "see that HTTPS_PROXY is right and that this proxy lets %s through; or name that host in NO_PROXY"
	hintAllProxy      = "ALL_PROXY is set, which vmux does not read: write that proxy into HTTPS_PROXY (http://, https:// or socks5://), if %s is behind it"
	hintUpgrade       = "let the proxy before the hub pass WebSockets on (nginx: proxy_http_version 1.1, and the headers Upgrade and Connection): \"Behind a proxy\" in docs/running-a-hub.md"
	// Seen of several proxies: denoland/deno 32120, google/inverting-proxy 81.
	hintSubprotocol = "let the proxy before the hub pass the header Sec-WebSocket-Protocol on, to the hub and back; if there is none, see that the hub's address is right"
	hintChallenge   = "in Cloudflare let " + hubwire.Path + " pass without a challenge: a rule that skips them for this path, and Bot Fight Mode off"
	hintNoBasic     = "that proxy takes no user and password as vmux can send them (Basic): run one that logs in there for you, such as px or cntlm, and name it in HTTPS_PROXY"
	hintProxy       = "start the hub behind that proxy, and see the proxy's log"
)

// progress is how far a connection came.
type progress struct{ reached, connected, secured, asked atomic.Bool }

func (p *progress) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone:          func(i httptrace.DNSDoneInfo) { p.reached.Store(i.Err == nil) },
		ConnectStart:     func(_, _ string) { p.reached.Store(true) },
		ConnectDone:      func(_, _ string, err error) { p.connected.Store(err == nil || p.connected.Load()) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { p.secured.Store(err == nil) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { p.asked.Store(true) },
	})
}

// explain says why no WebSocket was opened at the address.
func (w Way) explain(ctx context.Context, address string, r *http.Response, err error, far *progress) error {
	u, parseErr := url.Parse(address)
	if parseErr != nil {
		return err
	}
	f := w.faultOf(u, r, err, far)
	if f.cause = err; r != nil {
		f.cause = errors.Join(errNotHub, err)
	}
	proxy, proxyErr := w.proxyFor(address)
	if proxy != nil && r == nil || proxyErr != nil {
		f.hint = hintHTTPProxy
		if errors.Is(err, errNoBasic) {
			f.hint = hintNoBasic
		}
		if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			f.text = e.Error() // the proxy's, if it looks into TLS
		}
	}
	if proxy == nil && r == nil && w.Address == "" && allProxyAlone(u) {
		f.hint = hintAllProxy
	}
	doubtful := proxy == nil && proxyErr == nil && r == nil && u.Scheme == "https" && !errors.Is(err, context.Canceled)
	if doubtful {
		f.judge(u, w.page(ctx, u))
	}
	if strings.Contains(f.hint, "%s") {
		f.hint = fmt.Sprintf(f.hint, hostAlone(u))
	}
	f.text, f.hint = wire.Show(f.text), wire.Show(f.hint)
	return f
}

func (w Way) faultOf(u *url.URL, r *http.Response, err error, far *progress) *Fault {
	if r != nil && r.StatusCode != http.StatusSwitchingProtocols {
		return answered(u, r)
	}
	verification, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	notTLS = notTLS || errors.Is(err, http.ErrSchemeMismatch)
	name, unknown := errors.AsType[*net.DNSError](err)
	operation, failed := errors.AsType[*net.OpError](err)
	timeout := errors.Is(err, context.DeadlineExceeded) || failed && operation.Timeout()
	text := err.Error() // without the layers that it happened in, where they are known
	if failed && operation.Op == "proxyconnect" {
		text = operation.Err.Error()
	} else if failed {
		text = operation.Error()
	} else if request, ok := errors.AsType[*url.Error](err); ok {
		text = request.Err.Error()
	}
	switch {
	case unverified:
		return unbelieved(u, verification)
	case notTLS:
		return &Fault{text: "no hub answers at this address: what answers does not speak TLS", hint: hintPortal}
	case unknown && name.IsNotFound:
		return &Fault{text: text, hint: cmp.Or(mdns.Hint(name), fmt.Sprintf(hintName, u.Hostname()))}
	case unknown && strings.Contains(name.Err, "misbehaving"): // SERVFAIL, REFUSED: Go has no other sign of them
		return &Fault{text: text, hint: fmt.Sprintf(hintAnswers, u.Hostname())}
	case unknown:
		return &Fault{text: text, hint: "no name server answers: see that this machine is online"}
	case errors.Is(err, syscall.ENETUNREACH):
		return &Fault{text: text, hint: hintNoNetwork}
	case errors.Is(err, syscall.EHOSTUNREACH):
		return &Fault{text: text, hint: hintNoWay}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Fault{text: text, hint: hintRefused}
	case failed && operation.Op == "remote error" && noCertificate(operation.Err):
		return &Fault{text: text, hint: hintNoCertificate}
	case cut(err) && far.connected.Load() && !(failed && operation.Op == "proxyconnect"):
		when := "before TLS begins"
		if far.secured.Load() || u.Scheme == "http" {
			when = "without an answer"
		}
		return &Fault{text: fmt.Sprintf("the connection is ended %s (%s)", when, text), hint: fmt.Sprintf(hintCut, origin(u))}
	case timeout && !far.reached.Load():
		return &Fault{text: "no name server answers for " + u.Hostname(), hint: "see that this machine is online"}
	case timeout && !far.connected.Load():
		return &Fault{text: "nothing answers at " + cmp.Or(w.Address, u.Host), hint: fmt.Sprintf(hintSilent, origin(u))}
	case timeout && !far.secured.Load() && u.Scheme == "https":
		return &Fault{text: "the connection stands, but TLS gets no answer", hint: fmt.Sprintf(hintPath, origin(u))}
	case timeout:
		return &Fault{text: "the server takes the connection and does not answer", hint: fmt.Sprintf(hintPath, origin(u))}
	}
	return &Fault{text: text}
}

// cut reports whether the other side has ended a connection without a word. net/http has words
// alone for one that ends before the request is written.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		err != nil && strings.Contains(err.Error(), "server closed idle connection")
}

// noCertificate reports whether an alert is what servers say that have no certificate
// for the name.
func noCertificate(alert error) bool {
	switch alert.Error() {
	case "tls: internal error", "tls: unrecognized name", "tls: handshake failure":
		return true
	}
	return false
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// hostAlone is the host without a port, as it stands in URLs. Networks with a login
// page answer at HTTP's own port, and not at the hub's.
func hostAlone(u *url.URL) string { return strings.TrimSuffix(u.Host, ":"+u.Port()) }

// answered is for an answer that is no WebSocket.
func answered(u *url.URL, r *http.Response) *Fault {
	said := refusal(r)
	f := &Fault{text: fmt.Sprintf("%v: HTTP status %d%s", errNotHub, r.StatusCode, said)}
	to, err := r.Location()
	switch {
	case err == nil && to.Host != u.Host:
		f.text = fmt.Sprintf("a login page answers in place of the hub: HTTP status %d, to %s://%s", r.StatusCode, to.Scheme, to.Host)
		f.hint = hintLoginPage
	case err == nil, r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusNetworkAuthenticationRequired:
		f.text = fmt.Sprintf("a login page answers in place of the hub: HTTP status %d", r.StatusCode)
		f.hint = hintLoginPage
	case r.StatusCode == http.StatusUpgradeRequired: // the hub's answer to what a proxy has made of the request
		f.text = "something on the way to the hub passes no WebSockets on: HTTP status 426" + said
		f.hint = hintUpgrade
	case r.Header.Get("Cf-Mitigated") != "": // as Cloudflare marks it
		f.text = fmt.Sprintf("Cloudflare wants to see a browser in place of vmux: HTTP status %d", r.StatusCode)
		f.hint = hintChallenge
	case said != "": // in words: it knows more
	case r.StatusCode == http.StatusForbidden:
		f.hint = hintLoginPage
	case r.StatusCode >= 500:
		f.hint = hintProxy
	case strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"):
		f.hint = hintPortal
	}
	return f
}

// maxWords bounds what is shown of an answer that is no WebSocket, in bytes.
const maxWords = 300

// refusal is the answer's text, if it is one: what a hub says, or the proxy before it.
func refusal(r *http.Response) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	b, err := io.ReadAll(io.LimitReader(r.Body, maxWords))
	if kind != "text/plain" || err != nil || len(b) == 0 {
		return ""
	}
	return ": " + wire.Show(strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", " "))
}

// unbelieved is for a certificate that is not believed to be the hub's.
func unbelieved(u *url.URL, err *tls.CertificateVerificationError) *Fault {
	f := &Fault{text: err.Error()}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		f.hint = hintClock
		return f
	}
	if len(err.UnverifiedCertificates) == 0 {
		return f
	}
	cert := err.UnverifiedCertificates[0]
	if cert.VerifyHostname(u.Hostname()) == nil {
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			f.text += fmt.Sprintf("; it is issued by %q", cert.Issuer.String())
		}
		f.hint = hintCA
		if all, err := x509.SystemCertPool(); err == nil && all.Equal(x509.NewCertPool()) {
			f.hint = hintNoCAs
			return f
		}
		// Public CAs issue by intermediate certificates, and name where these are to be had.
		if len(err.UnverifiedCertificates) == 1 && len(cert.IssuingCertificateURL) > 0 {
			f.hint = hintChain
		}
		return f
	}
	names := append(slices.Clone(cert.DNSNames), cert.Subject.CommonName)
	f.text = fmt.Sprintf("another machine answers in place of the hub: its certificate is for %q", names[0])
	f.hint = hintPortal
	return f
}

const (
	askPage     = 2 * time.Second
	askPageSize = 4 << 10
)

// page asks the hub's host over HTTP, which networks with a login page answer for
// everybody. It returns nil if nobody answers.
func (w Way) page(ctx context.Context, u *url.URL) *http.Response {
	if w.Address != "" || isLoopbackName(u.Hostname()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askPage)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hostAlone(u)+"/", nil)
	if err != nil {
		return nil
	}
	client := w.Client()
	defer client.CloseIdleConnections()
	r, err := client.Do(request)
	if err != nil {
		return nil
	}
	defer r.Body.Close()
	_, _ = io.CopyN(io.Discard, r.Body, askPageSize)
	return r
}

// judge says of the network what its page shows: by status 511 (RFC 6585), or, if
// something else has shown that it is not the hub who answers, by leading elsewhere or
// by any page. A host's own web site may lead elsewhere, too, while its hub is off.
func (f *Fault) judge(u *url.URL, page *http.Response) {
	if page == nil {
		return
	}
	to, err := page.Location()
	elsewhere := err == nil && to.Hostname() != u.Hostname()
	html := page.StatusCode == http.StatusOK && strings.HasPrefix(page.Header.Get("Content-Type"), "text/html")
	switch another := f.hint == hintPortal; {
	case page.StatusCode == http.StatusNetworkAuthenticationRequired, another && (elsewhere || html):
		f.text = "this network answers with a page of its own in place of the hub"
		f.hint = hintLoginPage
	case elsewhere:
		f.text += "; by HTTP it leads to " + to.Host
		f.hint = strings.TrimSuffix(fmt.Sprintf("if that is a network's login page, sign in at http://%s/; else ", hostAlone(u))+f.hint, "; else ")
	}
}
