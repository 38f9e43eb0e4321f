package front

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// serve opens a front and serves what tells how a request looks to a hub.
func serve(t *testing.T, c Config) *Front {
	t.Helper()
	f, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	serveOpened(t, f)
	return f
}

// serveOpened serves until the test ends, or until it is stopped.
func serveOpened(t *testing.T, f *Front) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() {
		served <- f.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hub: %s %s from %s %v", r.Method, r.URL, r.RemoteAddr, r.Header["X-Forwarded-For"])
		}))
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// run runs a program that must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v (run make setup if it is missing)\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// request returns status and body of what the front answers on its address.
func request(t *testing.T, f *Front, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, method, "http://"+f.listener.Addr().String()+path, header...)
}

func do(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// writeCertificate puts a self-signed certificate into files.
func writeCertificate(t *testing.T, cert, key string, serial int64, names ...string) {
	t.Helper()
	public, secret := testkit.Certificate(t, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(serial) }, names...)
	for path, b := range map[string][]byte{cert: public, key: secret} {
		if path == "" {
			continue
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// certificateFiles puts one for these names into a folder of its own.
func certificateFiles(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, 1, names...)
	return cert, key
}

// serial is that of the certificate the front shows.
func serial(t *testing.T, f *Front) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if v := conn.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("TLS version %x", v)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestContradictions(t *testing.T) {
	cert := filepath.Join(t.TempDir(), "cert")
	for name, c := range map[string]Config{
		"two ways":              {BehindProxy: true, LocalCA: true, PublicURL: "https://hub.example", StateDir: t.TempDir()},
		"half a certificate":    {CertFile: cert},
		"other half":            {KeyFile: cert},
		"no file":               {CertFile: cert, KeyFile: cert},
		"proxy without URL":     {BehindProxy: true},
		"proxy, HTTP":           {BehindProxy: true, PublicURL: "http://hub.example"},
		"TLS, http":             {LocalCA: true, StateDir: t.TempDir(), PublicURL: "http://localhost"},
		"plain, https":          {PublicURL: "https://localhost"},
		"path":                  {BehindProxy: true, PublicURL: "https://hub.example/vmux"},
		"plain, everywhere":     {Listen: ":0"},
		"plain, wildcard":       {Listen: "0.0.0.0:0"},
		"plain, other name":     {Listen: "hub.example:0"},
		"names without a CA":    {LocalNames: []string{"hub.local"}},
		"address alone":         {LocalCA: true, LocalNames: []string{"192.168.1.2"}, StateDir: t.TempDir()},
		"no name":               {LocalCA: true, LocalNames: []string{"hub local"}, StateDir: t.TempDir()},
		"wildcard":              {LocalCA: true, LocalNames: []string{"*.local"}, StateDir: t.TempDir()},
		"markup":                {LocalCA: true, LocalNames: []string{"<b>.local"}, StateDir: t.TempDir()},
		"nowhere to remember":   {LocalCA: true, LocalNames: []string{"hub.local"}},
		"ACME nowhere":          {ACMEDomains: []string{"hub.example"}},
		"ACME for a wildcard":   {ACMEDomains: []string{"*.hub.example"}, StateDir: t.TempDir()},
		"ACME for a word":       {ACMEDomains: []string{"hub"}, StateDir: t.TempDir()},
		"ACME for an address":   {ACMEDomains: []string{"198.51.100.7"}, StateDir: t.TempDir()},
		"email without ACME":    {ACMEEmail: "root@hub.example"},
		"no roots for ACME":     {ACMEDomains: []string{"hub.example"}, ACMERoots: cert, StateDir: t.TempDir()},
		"second listener fails": {Listen: "127.0.0.1:0", ListenHTTP: "256.0.0.1:1"},
	} {
		if c.Listen == "" {
			c.Listen = "127.0.0.1:0"
		}
		f, err := Open(c)
		if err == nil {
			f.Close()
			t.Errorf("%s: no error", name)
		}
		if trouble := strings.Contains("no file, nowhere to remember, ACME nowhere, no roots for ACME, second listener fails", name); errors.Is(err, ErrUsage) == trouble {
			t.Errorf("%s: %v, which is for others to tell apart from wrong usage", name, err)
		}
	}
}

func TestFlags(t *testing.T) {
	var c Config
	flags := pflag.NewFlagSet("hub", pflag.ContinueOnError)
	c.Flags(flags)
	err := flags.Parse(strings.Fields("--listen 127.0.0.1:1 --listen-http none --public-url https://hub.example --tls-cert c --tls-key k " +
		"--acme-domain a.example --acme-domain b.example --acme-email e --acme-eab b --acme-directory d --acme-roots r --behind-proxy --local-ca --local-name n"))
	want := Config{
		Listen: "127.0.0.1:1", ListenHTTP: "none", PublicURL: "https://hub.example", CertFile: "c", KeyFile: "k",
		ACMEDomains: []string{"a.example", "b.example"}, ACMEEmail: "e", ACMEBinding: "b", ACMEDirectory: "d", ACMERoots: "r",
		BehindProxy: true, LocalCA: true, LocalNames: []string{"n"},
	}
	if err != nil || fmt.Sprint(c) != fmt.Sprint(want) {
		t.Errorf("%v, %+v, want %+v", err, c, want)
	}
}

func TestPlainOnThisMachine(t *testing.T) {
	f := serve(t, Config{Listen: "127.0.0.1:0"})
	_, port, _ := net.SplitHostPort(f.Addr().String())
	if want := "http://localhost:" + port; f.PublicURL() != want {
		t.Errorf("public URL %s, want %s", f.PublicURL(), want)
	}
	// Nobody stands before it, so whoever names another client lies.
	if _, body := request(t, f, "GET", "/a?b", "X-Forwarded-For", "192.0.2.1"); !strings.HasPrefix(body, "hub: GET /a?b from 127.0.0.1:") || !strings.HasSuffix(body, "[]") {
		t.Errorf("the hub sees %q", body)
	}
	if f.InstallURL() != "" || f.Fingerprint() != "" {
		t.Error("a CA that there is not")
	}
}

// A certificate is replaced while the hub runs: by halves, by nonsense, whole.
func TestCertificateFilesChange(t *testing.T) {
	clock := newClock()
	cert, key := certificateFiles(t, "*.hub.example", "hub.example")
	f := serve(t, Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key, Now: clock.Now})
	if want := fmt.Sprintf("https://hub.example:%d", f.Addr().(*net.TCPAddr).Port); f.PublicURL() != want {
		t.Errorf("public URL %s, want %s", f.PublicURL(), want)
	}
	if n := serial(t, f); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	writeCertificate(t, cert, "", 2, "hub.example") // the key is still the old one
	clock.pass(checkEvery)
	if n := serial(t, f); n != 1 {
		t.Errorf("between the halves: certificate %d", n)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	clock.pass(checkEvery)
	if n := serial(t, f); n != 1 {
		t.Errorf("without a file: certificate %d", n)
	}
	writeCertificate(t, cert, key, 3, "hub.example")
	clock.pass(checkEvery)
	if n := serial(t, f); n != 3 {
		t.Errorf("replaced: certificate %d", n)
	}
}

// certbot's cert.pem lacks the intermediate certificate, which desktop browsers fetch, so
// that it works there, and phones and programs do not (bitwarden/android#474).
func TestCertificateWithoutItsIssuer(t *testing.T) {
	dir := t.TempDir()
	issuer, leaf := filepath.Join(dir, "issuer.pem"), filepath.Join(dir, "leaf.pem")
	issuerKey, key := filepath.Join(dir, "issuer-key.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, issuer, issuerKey, 1, "issuer.example")
	for _, file := range []struct {
		name, from string
		chain      []string
		told       bool
	}{
		{"leaf alone", "http://ca.example/issuer.cer", []string{leaf}, true},
		{"whole chain", "http://ca.example/issuer.cer", []string{leaf, issuer}, false},
		{"an own CA's", "", []string{leaf}, false},
		{"self-signed", "", []string{issuer}, false},
	} {
		signCertificate(t, issuer, issuerKey, leaf, key, file.from)
		var chain []byte
		for _, path := range file.chain {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, b...)
		}
		cert, of := filepath.Join(dir, "chain.pem"), key
		if file.chain[0] == issuer {
			of = issuerKey
		}
		if err := os.WriteFile(cert, chain, 0o600); err != nil {
			t.Fatal(err)
		}
		log, logged := logger(t)
		f, err := Open(Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: of, Log: log})
		if err != nil {
			t.Fatalf("%s: %v", file.name, err)
		}
		f.Close()
		if told := strings.Contains(logged(), "fullchain.pem"); told != file.told {
			t.Errorf("%s: %s", file.name, logged())
		}
	}
}

// signCertificate makes a certificate for hub.example that the issuer has signed and that
// says where the issuer's is to be had.
func signCertificate(t *testing.T, issuer, issuerKey, cert, key, from string) {
	t.Helper()
	by, err := tls.LoadX509KeyPair(issuer, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	by.Leaf.Subject.CommonName, by.Leaf.RawSubject = "an issuer", nil
	writeCertificate(t, cert, key, 2, "hub.example")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	template := *own.Leaf
	template.Subject.CommonName, template.RawSubject = "hub.example", nil
	if from != "" {
		template.IssuingCertificateURL = []string{from}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Leaf, own.Leaf.PublicKey, by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyThatOthersCanRead(t *testing.T) {
	cert, key := certificateFiles(t, "hub.example")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key})
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.HasPrefix(hint.Hint(), "chmod 600 "+key+"; for a secret of Kubernetes defaultMode: 0440") {
		t.Errorf("error: %v", err)
	}
}

// A key with a passphrase is named as that; Go says that it failed to parse it
// (stellar/go-stellar-sdk#64, grepplabs/kafka-proxy#168).
func TestKeyWithAPassphrase(t *testing.T) {
	cert, key := certificateFiles(t, "hub.example")
	for _, form := range [][]string{{"pkcs8", "-topk8"}, {"ec", "-aes256"}} {
		locked := filepath.Join(t.TempDir(), "key.pem")
		run(t, "openssl", append(form, "-in", key, "-out", locked, "-passout", "pass:secret")...)
		_, err := Open(Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: locked})
		if err == nil || !strings.Contains(err.Error(), "has a passphrase") || !strings.Contains(wire.HintOf(err), "openssl pkey -in "+locked) {
			t.Errorf("%s: %v; hint: %s", form[0], err, wire.HintOf(err))
		}
	}
}

// The second listener leads to the hub, and nowhere else.
func TestPlainListenerRedirects(t *testing.T) {
	cert, key := certificateFiles(t, "hub.example")
	f := serve(t, Config{Listen: "127.0.0.1:0", ListenHTTP: "127.0.0.1:0", PublicURL: "https://hub.example/", CertFile: cert, KeyFile: key})
	plain := "http://" + f.plain.Addr().String()
	for path, want := range map[string]string{
		"/": "https://hub.example/", "/a/b?c=d": "https://hub.example/a/b?c=d", "//evil.example/": "https://hub.example//evil.example/",
	} {
		if resp, _ := do(t, "GET", plain+path, "Host", "evil.example"); resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != want {
			t.Errorf("%s: %d to %s, want %s", path, resp.StatusCode, resp.Header.Get("Location"), want)
		}
	}
	if resp, _ := do(t, "POST", plain+"/"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	if resp, _ := do(t, "GET", plain+"/v1/connect", "Connection", "Upgrade", "Upgrade", "websocket"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("WebSocket in clear: %d", resp.StatusCode)
	}
	// Cloudflare's Flexible mode would bring the browser back for ever (gin-gonic/autotls#42).
	for _, address := range []string{f.plain.Addr().String(), f.Addr().String()} {
		resp, text := do(t, "GET", "http://"+address+"/", "X-Forwarded-Proto", "https")
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "Full (strict)") {
			t.Errorf("from a proxy that has the https: %d, %q", resp.StatusCode, text)
		}
	}
	header := run(t, "curl", "-sSik", "https://"+f.Addr().String()+"/")
	if !strings.HasPrefix(header, "HTTP/2 200") {
		t.Errorf("not HTTP/2, which loads the app's many files at once:\n%s", header)
	}
	if !strings.Contains(strings.ToLower(header), "strict-transport-security: max-age=31536000") {
		t.Errorf("no HSTS on the host's own port:\n%s", header)
	}
}

// HSTS would hold for every port of the host, and other servers are there too.
func TestNoHSTSOnOtherPorts(t *testing.T) {
	cert, key := certificateFiles(t, "hub.example")
	f := serve(t, Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key})
	if header := run(t, "curl", "-sSik", "https://"+f.Addr().String()+"/"); strings.Contains(strings.ToLower(header), "strict-transport") {
		t.Errorf("HSTS for %s:\n%s", f.PublicURL(), header)
	}
}

func TestBehindProxy(t *testing.T) {
	f := serve(t, Config{Listen: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://hub.example"})
	for _, test := range []struct{ forwarded, want string }{
		{"", "127.0.0.1:"},
		{"198.51.100.7", "198.51.100.7:0 "},
		{"198.51.100.7:4711", "198.51.100.7:0 "},
		{"2001:db8::7", "[2001:db8::7]:0 "},
		{"[2001:db8::7]:4711", "[2001:db8::7]:0 "},
		{"::ffff:198.51.100.7", "198.51.100.7:0 "},
		{"127.0.0.1, 10.0.0.1, 198.51.100.7", "198.51.100.7:0 "}, // an attacker wrote the first two
		{"198.51.100.7, nonsense", "127.0.0.1:"},
		{"fe80::1%<script>", "[fe80::1]:0 "},
	} {
		resp, body := request(t, f, "GET", "/x", "X-Forwarded-For", test.forwarded, "X-Forwarded-Proto", "https")
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, "hub: GET /x from "+test.want) || !strings.HasSuffix(body, "[]") {
			t.Errorf("%q: %d, the hub sees %q", test.forwarded, resp.StatusCode, body)
		}
	}
	// Two headers are one list, in their order (RFC 9110 section 5.3).
	_, body := request(t, f, "GET", "/x", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "198.51.100.7")
	if !strings.HasPrefix(body, "hub: GET /x from 198.51.100.7:0 ") {
		t.Errorf("of two headers the hub sees %q", body)
	}
}

// Who came by HTTP is led to HTTPS once. A proxy that says "http" of every request
// (nginx behind Cloudflare or a company's balancer: vaultwarden, Nextcloud and
// many others were led in circles) is named, not followed.
func TestInClearToTheProxy(t *testing.T) {
	log, logged := logger(t)
	f := serve(t, Config{Listen: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://hub.example", Log: log})
	resp, _ := request(t, f, "GET", "/x?y=1", "X-Forwarded-Proto", "http")
	marked := strings.TrimPrefix(resp.Header.Get("Location"), "https://hub.example")
	if resp.StatusCode != http.StatusTemporaryRedirect || !strings.HasPrefix(marked, "/x?") {
		t.Fatalf("in clear to the proxy: %d to %s", resp.StatusCode, marked)
	}
	if resp, _ := request(t, f, "GET", marked, "X-Forwarded-Proto", "https"); resp.Header.Get("Location") != "https://hub.example/x?y=1" {
		t.Errorf("then by HTTPS: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, proto := range []string{"http", "HTTP", "ws", "http, https"} {
		resp, body := request(t, f, "GET", marked, "X-Forwarded-Proto", proto)
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "must set the header X-Forwarded-Proto to https") {
			t.Errorf("%s again: %d, %s", proto, resp.StatusCode, body)
		}
	}
	if strings.Count(logged(), "X-Forwarded-Proto") != 1 {
		t.Errorf("in the log: %s", logged())
	}
	for _, proto := range []string{"https", "wss", "https,http", "HTTPS", ""} {
		if resp, body := request(t, f, "GET", "/x", "X-Forwarded-Proto", proto); resp.StatusCode != http.StatusOK {
			t.Errorf("%q: %d, %s", proto, resp.StatusCode, body)
		}
	}
	resp, body := request(t, f, "GET", "/v1/connect", "X-Forwarded-Proto", "http", "Connection", "Upgrade", "Upgrade", "websocket")
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "X-Forwarded-Proto") {
		t.Errorf("a WebSocket in clear: %d, %s", resp.StatusCode, body)
	}
	if resp, _ := request(t, f, "GET", "//elsewhere.example/", "X-Forwarded-Proto", "http"); !strings.HasPrefix(resp.Header.Get("Location"), "https://hub.example/") {
		t.Errorf("led away: %s", resp.Header.Get("Location"))
	}
}

// A hub that listens everywhere still speaks to nobody but its proxy: from
// elsewhere the words "X-Forwarded-For" are an attacker's.
func TestProxyIsNearby(t *testing.T) {
	h := behindProxy(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "https://hub.example", slog.New(slog.DiscardHandler))
	here := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP("2001:db8::8"), Port: 8722})
	for address, want := range map[string]int{
		"[2001:db8::8]:1": 200, // a proxy of this machine (TechnitiumSoftware/DnsServer#1902)
		"127.0.0.1:1":     200, "[::1]:1": 200, "10.1.2.3:1": 200, "192.168.1.1:1": 200, "100.64.0.1:1": 200, "[fd7a:115c:a1e0::1]:1": 200,
		"[::ffff:10.0.0.1]:1": 200,
		"198.51.100.7:1":      403, "[2001:db8::1]:1": 403, "8.8.8.8:1": 403, "[::ffff:8.8.8.8]:1": 403, "": 403, "@": 403,
	} {
		r := httptest.NewRequestWithContext(here, "GET", "http://hub.example/", nil)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("from %s: %d, want %d", address, w.Code, want)
		}
	}
}

// Whoever keeps a connection and never gets to the end of a request, or of the
// TLS handshake, loses it.
func TestRequestsWithoutEnd(t *testing.T) {
	t.Parallel()
	cert, key := certificateFiles(t, "hub.example")
	plain := serve(t, Config{Listen: "127.0.0.1:0"})
	secure := serve(t, Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key})
	var all sync.WaitGroup
	for name, test := range map[string]struct {
		front        *Front
		begin, again string
	}{
		"no word":         {plain, "", ""},
		"headers by bits": {plain, "GET / HTTP/1.1\r\nHost: hub.example\r\nX: ", "x"},
		"no body":         {plain, "POST / HTTP/1.1\r\nHost: hub.example\r\nContent-Length: 9999\r\n\r\n", ""},
		"a body by bits":  {plain, "POST / HTTP/1.1\r\nHost: hub.example\r\nContent-Length: 9999\r\n\r\n", "x"},
		"chunks by bits":  {plain, "PUT / HTTP/1.1\r\nHost: hub.example\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		"no TLS":          {secure, "", ""},
		"half a hello":    {secure, "\x16\x03\x01\x02\x00\x01", "\x00"},
	} {
		all.Go(func() {
			if err := trickle(test.front.Addr().String(), test.begin, test.again); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
}

// trickle sends the beginning of a request, and then bits of it until the far end
// closes the connection.
func trickle(address, begin, again string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, conn); ended <- err }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	_, _ = io.WriteString(conn, begin)
	for late := time.After(4 * requestTime); ; {
		select {
		case <-ended:
			return nil
		case <-late:
			return errors.New("the connection goes on")
		case <-tick.C:
			_, _ = io.WriteString(conn, again) // ended tells whether it still arrives
		}
	}
}

// Headers over the limit are refused before they are kept.
func TestLongHeaders(t *testing.T) {
	f := serve(t, Config{Listen: "127.0.0.1:0"})
	if resp, _ := request(t, f, "GET", "/", "X-Long", strings.Repeat("x", 2*maxHeaders)); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	// All that nginx passes on by default: logins before the hub keep much in cookies
	// (oauth2-proxy 644), and on localhost each program's are sent to all (supabase 761).
	if resp, _ := request(t, f, "GET", "/", "Cookie", strings.Repeat("x", 32<<10)); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestServeEndsWhenListenerFails(t *testing.T) {
	f, err := Open(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := f.Serve(t.Context(), http.NotFoundHandler()); err == nil {
		t.Error("no error without a listener")
	}
}

// logger collects what the front writes.
func logger(t *testing.T) (*slog.Logger, func() string) {
	t.Helper()
	var out testkit.Output
	return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), out.String
}
