package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/internal/testkit"
)

func home(dir string) Config {
	return Config{
		Listen: "127.0.0.1:0", ListenHTTP: "127.0.0.1:0", LocalCA: true, LocalNames: []string{"laptop.local"}, StateDir: dir,
	}
}

// curl asks the front under a name, and trusts roots alone.
func curl(t *testing.T, f *Front, roots, name, path string) (string, error) {
	t.Helper()
	port := f.Addr().(*net.TCPAddr).Port
	out, err := exec.Command("curl", "-sS", "--fail", "--cacert", roots, "--noproxy", "*",
		"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", name, port), fmt.Sprintf("https://%s:%d%s", name, port, path)).CombinedOutput()
	return string(out), err
}

// Who installs the root reaches the hub: with another program's TLS.
func TestLocalCAServes(t *testing.T) {
	dir := t.TempDir()
	f := serve(t, home(dir))
	_, port, _ := net.SplitHostPort(f.Addr().String())
	if want := "https://laptop.local:" + port; f.PublicURL() != want {
		t.Errorf("public URL %s, want %s", f.PublicURL(), want)
	}
	_, root := do(t, "GET", "http://"+f.plain.Addr().String()+"/ca.pem") // as a phone gets it
	roots := testkit.WriteFile(t, "roots.pem", []byte(root))
	out, err := curl(t, f, roots, "laptop.local", "/app")
	if err != nil || !strings.HasPrefix(out, "hub: GET /app") {
		t.Errorf("curl: %v: %s", err, out)
	}
	if out, err := curl(t, f, roots, "other.local", "/"); err == nil {
		t.Errorf("curl takes the hub for another host: %s", out)
	}
	stored, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil || string(stored) != root {
		t.Errorf("the root beside the hub's state: %v", err)
	}
	text := run(t, "openssl", "x509", "-noout", "-text", "-fingerprint", "-sha256", "-in", roots)
	for _, want := range []string{
		"CA:TRUE, pathlen:0", "X509v3 Name Constraints: critical", "DNS:laptop.local", "IP:0.0.0.0/0.0.0.0",
		"TLS Web Server Authentication", strings.ReplaceAll(f.Fingerprint(), " ", ":"),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the root has no %q:\n%s", want, text)
		}
	}
}

// An attacker has stolen the CA's key. The phones that trust the root must not
// believe them about the user's bank.
func TestStolenCAVouchesForTheHubOnly(t *testing.T) {
	dir := t.TempDir()
	c := home(dir)
	c.LocalNames = append(c.LocalNames, "192.168.1.2")
	for name, c := range map[string]Config{"with an address": c, "names only": home(t.TempDir())} {
		c.Log, c.Now = slog.New(slog.DiscardHandler), time.Now
		ca, err := openLocalCA(c)
		if err != nil {
			t.Fatal(err)
		}
		roots := testkit.WriteFile(t, "roots.pem", ca.rootPEM())
		good, err := ca.certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := verify(t, roots, good.Leaf.Raw); err != nil {
			t.Errorf("%s: the hub's own certificate: %s", name, out)
		}
		for what, change := range map[string]func(*localCA){
			"bank":          func(ca *localCA) { ca.dns, ca.ips = []string{"bank.example"}, nil },
			"other .local":  func(ca *localCA) { ca.dns, ca.ips = []string{"nas.local"}, nil },
			"bank and hub":  func(ca *localCA) { ca.dns = []string{"laptop.local", "bank.example"} },
			"address":       func(ca *localCA) { ca.dns, ca.ips = nil, []net.IP{net.IPv4(192, 168, 1, 3).To4()} },
			"IPv6":          func(ca *localCA) { ca.dns, ca.ips = nil, []net.IP{net.ParseIP("fd00::1")} },
			"similar names": func(ca *localCA) { ca.dns, ca.ips = []string{"evil-laptop.local"}, nil },
		} {
			stolen := &localCA{root: ca.root, key: ca.key, dns: ca.dns, ips: ca.ips}
			change(stolen)
			if len(stolen.dns) == 0 {
				stolen.dns = []string{"laptop.local"}
			}
			forged, err := stolen.issue(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if out, err := verify(t, roots, forged.Leaf.Raw); err == nil || !strings.Contains(out, "subtree violation") {
				t.Errorf("%s: OpenSSL believes a certificate for %s: %s", name, what, out)
			}
			pool := x509.NewCertPool()
			pool.AddCert(ca.root)
			if _, err := forged.Leaf.Verify(x509.VerifyOptions{Roots: pool}); err == nil {
				t.Errorf("%s: Go believes a certificate for %s", name, what)
			}
		}
	}
}

// verify asks OpenSSL about a certificate.
func verify(t *testing.T, roots string, der []byte) (string, error) {
	t.Helper()
	leaf := testkit.WriteFile(t, "leaf.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	out, err := exec.Command("openssl", "verify", "-purpose", "sslserver", "-CAfile", roots, leaf).CombinedOutput()
	return string(out), err
}

// The public URL's name is certified without being said twice; without one it is
// this machine's.
func TestLocalCANames(t *testing.T) {
	c := home(t.TempDir())
	c.PublicURL = "https://NAS.home.arpa:8722"
	f := openedAs(t, c)
	if f.PublicURL() != "https://nas.home.arpa:8722" || fmt.Sprint(f.ca.dns) != "[nas.home.arpa]" {
		t.Errorf("%s, %v", f.PublicURL(), f.ca.dns)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	f = openedAs(t, home(t.TempDir()))
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	if fmt.Sprint(f.ca.dns) != "["+name+".local]" {
		t.Errorf("%v for %s", f.ca.dns, name)
	}
}

// openedAs is a front that certified these names, and does not listen any more.
func openedAs(t *testing.T, c Config, names ...string) *Front {
	t.Helper()
	c.LocalNames = names
	f, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f
}

func TestLocalCASurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	prints := map[string]bool{}
	for range 2 {
		prints[openedAs(t, home(dir), "laptop.local").Fingerprint()] = true
	}
	if len(prints) != 1 {
		t.Error("another root after a restart: the phones know it no more")
	}
	for _, name := range []string{secretFile, rootFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestLocalCAChangesWithItsNames(t *testing.T) {
	dir := t.TempDir()
	c := home(dir)
	c.LocalNames = []string{"Laptop.local.", "hub.home.arpa", "192.168.1.2", "fd00::2"}
	log, logged := logger(t)
	c.Log = log
	open := func(names ...string) string { return openedAs(t, c, names...).Fingerprint() }
	first := open(c.LocalNames...)
	if open("hub.home.arpa", "fd00::2") != first || logged() != "" {
		t.Errorf("fewer names want no other root: %s", logged())
	}
	if open("hub.home.arpa", "192.168.1.3") == first || !strings.Contains(logged(), "phones must install a new one") {
		t.Errorf("another address: %s", logged())
	}
}

// The computer's name changes, and comes back: the root that phones trust is the one
// that they know, and no root is ever overwritten.
func TestOneRootForEachName(t *testing.T) {
	dir := t.TempDir()
	c := home(dir)
	log, logged := logger(t)
	c.Log = log
	open := func(names ...string) string {
		t.Helper()
		f := openedAs(t, c, names...)
		root, err := os.ReadFile(filepath.Join(dir, rootFile))
		if err != nil || string(root) != string(f.ca.rootPEM()) {
			t.Errorf("%s is not the root that is used: %v", rootFile, err)
		}
		return f.Fingerprint()
	}
	keys := func() map[string]string {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(dir, "ca", "*.key"))
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, path := range list {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[path] = string(b)
		}
		return all
	}
	roots := map[string]string{}
	var before map[string]string
	for _, name := range []string{"laptop.local", "dhcp-17.local", "laptop.local", "dhcp-17.local", "laptop-2.local", "laptop.local"} {
		f := open(name)
		if roots[name] != "" && roots[name] != f {
			t.Errorf("%s has another root than before", name)
		}
		roots[name] = f
		now := keys()
		for path, b := range before {
			if now[path] != b {
				t.Errorf("%s was overwritten", path)
			}
		}
		before = now
	}
	if len(roots) != 3 || len(before) != 3 || !strings.Contains(logged(), "the old ones are kept") {
		t.Errorf("%d keys of %d roots: %s", len(before), len(roots), logged())
	}
	// More names want another root, which then does for fewer.
	more := open("laptop.local", "192.168.1.2")
	if open("laptop.local") != more || len(keys()) != 4 {
		t.Errorf("%d keys", len(keys()))
	}
	// A damaged root hurts those who need it, and nobody else.
	damaged := filepath.Join(dir, "ca", "root-dhcp-17.local.key")
	if err := os.WriteFile(damaged, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if open("laptop.local") != more || !strings.Contains(logged(), damaged) {
		t.Error("nobody is told of a damaged root")
	}
	c.LocalNames = []string{"dhcp-17.local"}
	if f, err := Open(c); err == nil {
		f.Close()
		t.Error("a damaged root was replaced")
	} else if !strings.Contains(err.Error(), damaged) {
		t.Error(err)
	}
}

// A clock that was far ahead at one start, as after a battery has failed, made the root of
// before expire, and another one that phones do not believe for years. Once it is right again,
// the one that they trust is used.
func TestClockThatWasAhead(t *testing.T) {
	c, clock := home(t.TempDir()), newClock()
	c.Now = clock.Now
	first := openedAs(t, c, "laptop.local").Fingerprint()
	clock.pass(rootLife)
	if openedAs(t, c, "laptop.local").Fingerprint() == first {
		t.Fatal("a root that has expired")
	}
	clock.pass(-rootLife)
	if openedAs(t, c, "laptop.local").Fingerprint() != first {
		t.Error("a root that is not good yet")
	}
}

// A hub that was given no name has that of its first start, and of the root that an
// earlier version of vmux made.
func TestLocalCAKeepsTheFirstName(t *testing.T) {
	const name = "vmux-first-name.local" // which no computer has that runs this
	earlier := home(t.TempDir())
	earlier.LocalNames = []string{name}
	for what, first := range map[string]Config{"of an earlier version": earlier, "written down": {
		Listen: "127.0.0.1:0", ListenHTTP: "none", LocalCA: true, StateDir: t.TempDir(),
	}} {
		if what == "written down" {
			if err := os.WriteFile(filepath.Join(first.StateDir, "name"), []byte(name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f := openedAs(t, first, first.LocalNames...)
		c := home(first.StateDir)
		c.LocalNames = nil
		log, logged := logger(t)
		c.Log = log
		again := serve(t, c)
		if fmt.Sprint(again.ca.dns) != "["+name+"]" || again.Fingerprint() != f.Fingerprint() {
			t.Errorf("%s: %v", what, again.ca.dns)
		}
		waitFor(t, func() bool { return strings.Contains(logged(), "its hub is "+name+" still") }, logged)
	}
}

// The phones trust this root: nothing damaged is replaced in silence.
func TestDamagedLocalCA(t *testing.T) {
	dir := t.TempDir()
	openedAs(t, home(dir), "laptop.local")
	path := filepath.Join(dir, secretFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	_, certificate := pem.Decode(good)
	for name, damaged := range map[string][]byte{
		"empty": {}, "half": good[:len(good)/2], "no key": certificate,
		"another key": append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: otherKey}), certificate...),
		"no DER":      []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + string(certificate)),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(home(dir))
		if err == nil {
			f.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v names no file", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != string(damaged) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestLeafIsRenewed(t *testing.T) {
	clock := newClock()
	c := home(t.TempDir())
	c.Now = clock.Now
	f := serve(t, c)
	seen := map[string]bool{}
	leaf := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cert := conn.ConnectionState().PeerCertificates[0]
		seen[cert.SerialNumber.String()] = true
		if left := cert.NotAfter.Sub(clock.Now()); left < leafRenew-time.Second || left > leafLife || cert.NotBefore.After(clock.Now()) {
			t.Errorf("valid from %s to %s at %s", cert.NotBefore, cert.NotAfter, clock.Now())
		}
		return cert
	}
	leaf()
	clock.pass(leafLife - leafRenew - time.Minute)
	leaf()
	if len(seen) != 1 {
		t.Errorf("%d certificates within the life of one", len(seen))
	}
	clock.pass(2 * time.Minute)
	leaf()
	clock.pass(300 * 24 * time.Hour) // the laptop slept
	leaf()
	clock.pass(-400 * 24 * time.Hour) // its clock was wrong
	leaf()
	if len(seen) != 4 {
		t.Errorf("%d certificates, want 4", len(seen))
	}
}

// The profile is read by another program's parser, and holds the very root.
func TestProfile(t *testing.T) {
	f := serve(t, home(t.TempDir()))
	resp, profile := do(t, "GET", "http://"+f.plain.Addr().String()+"/ca.mobileconfig")
	if got := resp.Header.Get("Content-Type"); got != "application/x-apple-aspen-config" {
		t.Errorf("Content-Type: %s", got)
	}
	path := testkit.WriteFile(t, "profile", []byte(profile))
	out := run(t, "python3", "-c", `
import hashlib, json, plistlib, sys, uuid
p = plistlib.load(open(sys.argv[1], "rb"))
root, = p["PayloadContent"]
uuid.UUID(p["PayloadUUID"]), uuid.UUID(root["PayloadUUID"])
print(json.dumps({"Types": [p["PayloadType"], root["PayloadType"]], "Versions": [p["PayloadVersion"], root["PayloadVersion"]],
    "IDs": [p["PayloadIdentifier"], root["PayloadIdentifier"], p["PayloadUUID"], root["PayloadUUID"]],
    "Name": p["PayloadDisplayName"], "SHA256": hashlib.sha256(root["PayloadContent"]).hexdigest()}))`, path)
	var got struct {
		Types, IDs   []string
		Versions     []int
		Name, SHA256 string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if want := []string{"Configuration", "com.apple.security.root"}; fmt.Sprint(got.Types) != fmt.Sprint(want) || fmt.Sprint(got.Versions) != "[1 1]" {
		t.Errorf("profile: %+v", got)
	}
	if want := strings.ToLower(strings.ReplaceAll(f.Fingerprint(), " ", "")); got.SHA256 != want {
		t.Errorf("the profile's root is %s, want %s", got.SHA256, want)
	}
	if got.IDs[2] == got.IDs[3] || !strings.HasPrefix(got.Name, "vmux hub laptop.local (") {
		t.Errorf("profile: %+v", got)
	}
	if _, again := do(t, "GET", "http://"+f.plain.Addr().String()+"/ca.mobileconfig"); again != profile {
		t.Error("the profile is another one each time, so that phones would collect them")
	}
}

// Nobody asked for the second listener, so it stops no hub.
func TestInstallPageWithoutItsPort(t *testing.T) {
	c := home(t.TempDir())
	for tries := 0; ; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		taken := l.Addr().(*net.TCPAddr).Port
		c.Listen, c.ListenHTTP = fmt.Sprintf("127.0.0.1:%d", taken-1), ""
		f, err := Open(c)
		if err != nil && tries < 10 {
			continue // the port before is taken, too
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if f.plain != nil || f.InstallURL() != f.PublicURL()+installPath {
			t.Errorf("install URL %s", f.InstallURL())
		}
		c.ListenHTTP = l.Addr().String()
		if f, err := Open(c); err == nil {
			f.Close()
			t.Error("a listener that was asked for is missing, and nobody is told")
		}
		break
	}
	for listen, want := range map[string]string{":8722": ":8723", "127.0.0.1:0": "127.0.0.1:0", "[::1]:1": "[::1]:2", ":65535": "", "x": "", ":http": ""} {
		if got := nextPort(listen); got != want {
			t.Errorf("after %s: %s, want %s", listen, got, want)
		}
	}
}

func TestInstallPage(t *testing.T) {
	f := serve(t, home(t.TempDir()))
	base := "http://" + f.plain.Addr().String()
	if want := fmt.Sprintf("http://laptop.local:%d/install-ca", f.plain.Addr().(*net.TCPAddr).Port); f.InstallURL() != want {
		t.Errorf("install URL %s, want %s", f.InstallURL(), want)
	}
	resp, page := do(t, "GET", base+installPath)
	for _, want := range append(strings.Fields(f.Fingerprint()), f.PublicURL(), "/ca.mobileconfig", "/ca.pem", "/ca.cer",
		"Certificate Trust Settings", "Profile Downloaded", "CA certificate", "update-ca-certificates", "add-trusted-cert") {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if policy := resp.Header.Get("Content-Security-Policy"); policy != installPolicy || strings.Contains(page, "<script") || strings.Contains(page, "<style") {
		t.Errorf("policy: %s", policy)
	}
	for path, want := range map[string]string{
		"/install-ca.css": "text/css; charset=utf-8", "/ca.pem": "application/x-pem-file", "/ca.cer": "application/x-x509-ca-cert",
	} {
		resp, body := do(t, "GET", base+path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != want || resp.Header.Get("X-Content-Type-Options") != "nosniff" || body == "" {
			t.Errorf("%s: %d, %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
	if resp, _ := do(t, "POST", base+"/ca.pem"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	if resp, _ := do(t, "GET", base+"/x"); resp.Header.Get("Location") != f.PublicURL()+"/x" {
		t.Errorf("elsewhere: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	if page := run(t, "curl", "-sSk", "https://"+f.Addr().String()+installPath); !strings.Contains(page, "Trust this vmux hub") {
		t.Error("the page is not on the hub's own listener")
	}
}
