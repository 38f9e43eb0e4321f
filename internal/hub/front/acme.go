package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"vmux/internal/state"
)

// acmeTimeout bounds one request to the certificate authority, orderTime all of
// one order.
const (
	acmeTimeout = 30 * time.Second
	orderTime   = 3 * time.Minute
)

const (
	letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	accountFile = "account.pem"
	answerPath  = "/.well-known/acme-challenge/" // RFC 8555 section 8.3
)

// acmeWay obtains certificates and renews them (RFC 8555). The authority sees
// that the hub has the name by a TLS handshake on port 443 (RFC 8737) or by a
// request on port 80. It is asked on a schedule (acme_schedule.go), never for a
// handshake: anybody can make those, and authorities allow few failures in an hour.
type acmeWay struct {
	domains             []string
	dir                 *state.Dir
	log                 *slog.Logger
	client              *acme.Client
	email               string
	binding             *acme.ExternalAccountBinding
	transport           *http.Transport
	own                 tls.Certificate // shown to the hub itself, when it looks for its name
	ownToken, ownAnswer string

	// How it looks; other ones in tests.
	now               func() time.Time
	every             time.Duration
	lookup            func(ctx context.Context, name string) ([]netip.Addr, error)
	tlsPort, httpPort string

	tries map[string]try // of obtain alone
	began time.Time      // of obtain alone
	looks atomic.Int64   // how often it was looked what is to be done

	mu           sync.Mutex
	http         bool // there is a listener at port 80
	certificates map[string]*tls.Certificate
	reasons      map[string]string           // why there is none
	shown        map[string]*tls.Certificate // to the authority, by name
	answers      map[string]string           // to the authority, by path
}

func openACME(c Config) (*acmeWay, error) {
	domains := slices.Clone(c.ACMEDomains)
	for i, name := range domains {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		bad := func(r rune) bool { return r > 'z' || r <= ' ' }
		if _, err := netip.ParseAddr(name); err == nil {
			return nil, usage("--acme-domain: browsers have no passkeys for the bare address %s: give a host name", name)
		}
		if strings.IndexFunc(name, func(r rune) bool { return r > '~' }) >= 0 {
			return nil, usage("--acme-domain: write %s as DNS has it, in ASCII (xn--…)", name)
		}
		if !strings.Contains(name, ".") || strings.ContainsAny(name, "*:/") || strings.IndexFunc(name, bad) >= 0 {
			return nil, usage("--acme-domain: not a name to get a certificate for: %q", name)
		}
		domains[i] = name
	}
	dir, err := state.OpenDir(authorityFolder(c))
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(c.ACMERoots)
	if err != nil {
		return nil, err
	}
	binding, err := readBinding(c.ACMEBinding)
	if err != nil {
		return nil, err
	}
	key, err := accountKey(dir)
	if err != nil {
		return nil, fmt.Errorf("key of the ACME account: %w", err)
	}
	w := &acmeWay{
		domains: domains, dir: dir, log: c.Log, email: c.ACMEEmail, binding: binding,
		now: c.Now, every: lookEvery, tlsPort: "443", httpPort: "80",
		certificates: map[string]*tls.Certificate{}, reasons: map[string]string{},
		shown: map[string]*tls.Certificate{}, answers: map[string]string{}, tries: loadTries(dir, c.Log),
	}
	w.lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	if w.own, err = ownCertificate(); err != nil {
		return nil, err
	}
	w.ownToken, w.ownAnswer = rand.Text(), rand.Text()
	w.answers[w.ownPath()] = w.ownAnswer
	w.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: requestTime,
		IdleConnTimeout:     requestTime,
		ForceAttemptHTTP2:   true,
	}
	directory := c.ACMEDirectory
	if directory == "" {
		directory = letsEncrypt
	}
	w.client = &acme.Client{
		Key: key, DirectoryURL: directory, UserAgent: "vmux-hub",
		HTTPClient:   &http.Client{Timeout: acmeTimeout, Transport: w.transport},
		RetryBackoff: retryBackoff,
	}
	for _, name := range domains {
		w.reasons[name] = "the authority is being asked"
		w.load(name)
	}
	return w, nil
}

// authorityFolder is where account, certificates and failures with one authority lie, apart
// from those of others: who has tried with a staging authority wants another certificate
// afterwards, at once, and no phone knows the first one's root.
func authorityFolder(c Config) string {
	folder := filepath.Join(c.StateDir, "acme")
	if c.ACMEDirectory == "" || c.ACMEDirectory == letsEncrypt {
		return folder
	}
	hash := sha256.Sum256([]byte(c.ACMEDirectory))
	return filepath.Join(folder, hex.EncodeToString(hash[:8]))
}

// retryBackoff tries again what an authority could not do just now, a few times.
// A limit that is reached is no such thing: that ends the order.
func retryBackoff(n int, _ *http.Request, resp *http.Response) time.Duration {
	if n > 3 || resp.StatusCode == http.StatusTooManyRequests {
		return -1
	}
	return time.Duration(n) * time.Second
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

// readBinding returns nil if there is no file.
func readBinding(file string) (*acme.ExternalAccountBinding, error) {
	if file == "" {
		return nil, nil
	}
	if err := checkSecret(file); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read --acme-eab: %w", err)
	}
	words := strings.Fields(string(b))
	if len(words) != 2 {
		return nil, usage("--acme-eab: two words are wanted in %s, the key ID and the HMAC key", file)
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(words[1], "="))
	if err != nil {
		return nil, usage("--acme-eab: the second word in %s is no HMAC key in base64url", file)
	}
	return &acme.ExternalAccountBinding{KID: words[0], Key: key}, nil
}

// accountKey is what the authority knows this hub by.
func accountKey(dir *state.Dir) (*ecdsa.PrivateKey, error) {
	b, err := dir.Get(accountFile)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		return x509.ParseECPrivateKey(block.Bytes)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, dir.Put(accountFile, secret)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// ownCertificate is worth nothing to anybody: the hub knows it again.
func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func certificateFile(name string) string { return name + ".pem" }

// load takes the certificate that was obtained before, unless it has expired.
func (w *acmeWay) load(name string) {
	b, err := w.dir.Get(certificateFile(name))
	if err != nil || b == nil {
		return
	}
	c, err := tls.X509KeyPair(b, b)
	if err != nil || c.Leaf.VerifyHostname(name) != nil || !w.now().Before(c.Leaf.NotAfter) {
		w.log.Warn("the stored certificate is of no use", "name", name, "reason", err)
		return
	}
	w.certificates[name] = &c
}

// save stores a certificate and shows it from now on.
func (w *acmeWay) save(name string, key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	b, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	for _, der := range chain {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, err
	}
	if err := c.Leaf.VerifyHostname(name); err != nil {
		return nil, err
	}
	if err := w.dir.Put(certificateFile(name), b); err != nil {
		w.log.Error("the certificate cannot be stored: the next start asks for another", "name", name, "reason", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.certificates[name] = &c
	return &c, nil
}

func (w *acmeWay) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.domains, name) {
		return nil, errors.New("no certificate is asked for by this name")
	}
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		if c := w.shown[name]; c != nil {
			return c, nil
		}
		return &w.own, nil
	}
	if c := w.certificates[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no certificate yet: %s", w.reasons[name])
}

func (w *acmeWay) host() string { return w.domains[0] }

func (w *acmeWay) protocol() string { return acme.ALPNProto }

// answer answers the authority's HTTP-01 challenges.
func (w *acmeWay) answer(next http.Handler) http.Handler {
	w.mu.Lock()
	w.http = true
	w.mu.Unlock()
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, answerPath) {
			next.ServeHTTP(rw, r)
			return
		}
		w.mu.Lock()
		text, known := w.answers[r.URL.Path]
		w.mu.Unlock()
		if !known {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/octet-stream")
		_, _ = rw.Write([]byte(text))
	})
}
