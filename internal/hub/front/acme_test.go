package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/internal/testkit"
)

// authority is Pebble, the test server of Let's Encrypt, which looks names up
// at a DNS server that says 127.0.0.1 to everything.
type authority struct {
	t          *testing.T
	dir        string
	api, admin string // addresses
	process    *exec.Cmd
	output     string            // file
	binding    map[string]string // keys of accounts, by their ID, of which it wants one; nil: none

	// Of the hub that asks it.
	clock  *clock
	logged func() string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), api: testkit.FreeAddress(t), admin: testkit.FreeAddress(t), clock: newClock()}
	a.output = filepath.Join(a.dir, "output")
	cert, key := testkit.Certificate(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "127.0.0.1")
	a.write("cert.pem", cert) // what Pebble itself serves HTTPS with
	a.write("key.pem", key)
	return a
}

func (a *authority) write(name string, b []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// start starts Pebble, which looks for the hub at these ports.
func (a *authority) start(tlsPort, httpPort int) {
	a.t.Helper()
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": a.api, "managementListenAddress": a.admin, "tlsPort": tlsPort, "httpPort": httpPort,
		"certificate": filepath.Join(a.dir, "cert.pem"), "privateKey": filepath.Join(a.dir, "key.pem"),
		"externalAccountBindingRequired": a.binding != nil, "externalAccountMACKeys": a.binding,
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("config.json", config)
	dns := testkit.FreeAddress(a.t)
	a.run("pebble-challtestsrv", "-dns01", dns, "-http01", "", "-https01", "", "-tlsalpn01", "",
		"-management", testkit.FreeAddress(a.t), "-defaultIPv6", "")
	a.process = a.run("pebble", "-config", filepath.Join(a.dir, "config.json"), "-dnsserver", dns)
	testkit.WaitFor(a.t, testkit.Told(func() string { return "Pebble: " + a.log() }), func() bool {
		resp, err := a.client().Get(a.directory())
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

func (a *authority) run(name string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	output, err := os.OpenFile(a.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("%v: run make setup", err)
	}
	a.t.Cleanup(func() { end(cmd) })
	return cmd
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
}

func (a *authority) log() string {
	b, _ := os.ReadFile(a.output)
	return string(b)
}

func (a *authority) directory() string { return "https://" + a.api + "/dir" }

func (a *authority) client() *http.Client {
	b, err := os.ReadFile(filepath.Join(a.dir, "cert.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
}

// roots are those of the certificates that Pebble issues: other ones each time.
func (a *authority) roots() *x509.CertPool {
	a.t.Helper()
	resp, err := a.client().Get("https://" + a.admin + "/roots/0")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		a.t.Fatalf("no root: %s", b)
	}
	return pool
}

func waitFor(t *testing.T, done func() bool, why func() string) {
	t.Helper()
	testkit.WaitFor(t, testkit.Told(why), done)
}

// until waits for what the hub does, or obtains.
func (a *authority) until(done func() bool) {
	a.t.Helper()
	waitFor(a.t, done, func() string { return a.logged() + a.log() })
}

// obtained waits until the hub has a certificate, and returns the one that it shows.
func (a *authority) obtained(f *Front) *x509.Certificate {
	a.t.Helper()
	a.until(func() bool { return strings.Contains(a.logged(), "until=") })
	c, err := handshake(f, "hub.example", a.roots())
	if err != nil {
		a.t.Fatalf("no certificate of this authority: %v\n%s%s", err, a.logged(), a.log())
	}
	return c
}

// config is that of a hub whose clock and log are the authority's.
func (a *authority) config(state string) Config {
	c := Config{
		Listen: "127.0.0.1:0", ACMEDomains: []string{"hub.example"}, ACMEDirectory: a.directory(),
		ACMERoots: filepath.Join(a.dir, "cert.pem"), ACMEEmail: "root@hub.example", StateDir: state, Now: a.clock.Now,
	}
	c.Log, a.logged = logger(a.t)
	return c
}

// openAt opens a front whose name leads to these addresses, at its own ports.
func openAt(t *testing.T, c Config, addresses ...string) *Front {
	t.Helper()
	f, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	f.acme.every = 10 * time.Millisecond
	f.acme.tlsPort = fmt.Sprint(f.Addr().(*net.TCPAddr).Port)
	if f.plain != nil {
		f.acme.httpPort = fmt.Sprint(f.plain.Addr().(*net.TCPAddr).Port)
	}
	f.acme.lookup = func(context.Context, string) ([]netip.Addr, error) {
		if len(addresses) == 0 {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
		var found []netip.Addr
		for _, a := range addresses {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
	return f
}

// handshake returns the certificate that the front shows to a phone.
func handshake(f *Front, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// The name is proved on the hub's own port; a restart needs no authority.
func TestACME(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	f := openAt(t, c, "127.0.0.1")
	a.start(f.Addr().(*net.TCPAddr).Port, 1)
	stop := serveOpened(t, f)
	first, roots := a.obtained(f), a.roots()
	if _, err := handshake(f, "other.example", roots); err == nil {
		t.Error("a certificate for whatever name anybody asks for")
	}
	stop()
	end(a.process)

	again := openAt(t, c)
	serveOpened(t, again)
	second, err := handshake(again, "hub.example", roots)
	if err != nil || second.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("after a restart without the authority: %v", err)
	}
	checkModes(t, authorityFolder(c))
}

// Who has tried with a staging authority gets a certificate of the real one at once, and not
// when the first one is due; what the first has refused costs nothing with the second
// (acme.sh#2463, shelf_letsencrypt#11).
func TestAnotherAuthority(t *testing.T) {
	staging, real, state := newAuthority(t), newAuthority(t), t.TempDir()
	obtained := func(a *authority) *x509.Certificate {
		f := openAt(t, a.config(state), "127.0.0.1")
		a.start(f.Addr().(*net.TCPAddr).Port, 1)
		defer serveOpened(t, f)()
		return a.obtained(f)
	}
	first := obtained(staging)
	if second := obtained(real); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the staging authority's certificate")
	}
	again := openAt(t, staging.config(state))
	defer serveOpened(t, again)()
	if c, err := handshake(again, "hub.example", staging.roots()); err != nil || c.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("back at the first: %v", err)
	}
}

// An authority that wants an account of its own gets it by --acme-eab (commercial ones do,
// dehydrated-io/dehydrated#742).
func TestACMEBinding(t *testing.T) {
	a := newAuthority(t)
	a.binding = map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
	c := a.config(t.TempDir())
	f := openAt(t, c, "127.0.0.1")
	c.Listen = f.Addr().String()
	a.start(f.Addr().(*net.TCPAddr).Port, 1)
	stop := serveOpened(t, f)
	a.until(func() bool { return f.acme.said("hub.example", "externalAccountRequired") })
	stop()

	for text, want := range map[string]string{"kid-1": "two words", "kid-1 a*b": "base64url"} {
		c.ACMEBinding = testkit.WriteFile(t, "eab", []byte(text))
		if _, err := Open(c); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	c.ACMEBinding = testkit.WriteFile(t, "eab", []byte("kid-1\n"+a.binding["kid-1"]+"\n"))
	a.clock.pass(time.Hour)
	for range 2 { // its account is there at the second
		f = openAt(t, c, "127.0.0.1")
		stop = serveOpened(t, f)
		a.until(func() bool { return f.acme.current("hub.example") != nil })
		stop()
		if err := os.Remove(filepath.Join(authorityFolder(c), certificateFile("hub.example"))); err != nil {
			t.Fatal(err)
		}
	}
}

// An authority that was set up anew, as staging ones and those of a company are, knows the
// hub's account no more: it gets another in the middle of the hub's life.
func TestACMEAuthorityIsSetUpAnew(t *testing.T) {
	a := newAuthority(t)
	f := openAt(t, a.config(t.TempDir()), "127.0.0.1")
	port := f.Addr().(*net.TCPAddr).Port
	a.start(port, 1)
	serveOpened(t, f)
	a.obtained(f)
	first := f.acme.current("hub.example")
	end(a.process)
	a.start(port, 1)
	a.clock.pass(time.Until(renewal(first)) + time.Minute)
	a.until(func() bool {
		return f.acme.current("hub.example") != first || strings.Contains(a.logged(), "the next order is made")
	})
	if f.acme.current("hub.example") == first {
		t.Error(a.logged())
	}
}

func checkModes(t *testing.T, folder string) {
	t.Helper()
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", folder, info, err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%v: %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// Where the authority cannot see the hub's own port, the plain one will do.
func TestACMEOverHTTP(t *testing.T) {
	a := newAuthority(t)
	c := a.config(t.TempDir())
	c.ListenHTTP = "127.0.0.1:0"
	f := openAt(t, c, "127.0.0.1")
	a.start(1, f.plain.Addr().(*net.TCPAddr).Port)
	serveOpened(t, f)
	a.obtained(f)
	want := fmt.Sprintf("https://hub.example:%d/x", f.Addr().(*net.TCPAddr).Port)
	if resp, _ := do(t, "GET", "http://"+f.plain.Addr().String()+"/x"); resp.Header.Get("Location") != want {
		t.Errorf("elsewhere: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// The hub starts and ends while the authority keeps it waiting.
func TestACMEAuthorityHangs(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	f := openAt(t, Config{
		Listen: "127.0.0.1:0", ACMEDomains: []string{"hub.example"}, ACMEDirectory: "https://" + hanging.Addr().String() + "/dir", StateDir: t.TempDir(),
	}, "127.0.0.1")
	stop := serveOpened(t, f)
	conn, err := hanging.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	stop()
	if took := time.Since(start); took > 10*shutdownTime { // it would wait for the directory for ever
		t.Errorf("ending took %s", took)
	}
}
