package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every vmux-hub command and flag in the docs is one that there is.
func TestDocsNameFlagsThatExist(t *testing.T) {
	var help output
	if status := run(t.Context(), []string{"--help"}, strings.NewReader(""), &help); status != 0 {
		t.Fatalf("status %d: %s", status, &help)
	}
	found := 0
	for _, name := range []string{"hub.md", "running-a-hub.md"} {
		for line := range strings.Lines(page(t, name)) {
			if strings.Contains(line, "vmux agent") {
				continue // internal/cli's
			}
			for _, flag := range regexp.MustCompile(`--[a-z][-a-z]+`).FindAllString(line, -1) {
				if strings.HasPrefix(flag, "--hub") || strings.Contains(line, "tailscale serve") || strings.Contains(line, "`nats kv ") {
					continue
				}
				found++
				if !strings.Contains(help.String(), " "+flag+" ") {
					t.Errorf("%s names %s, which is no flag of vmux-hub", name, flag)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d flags in the docs", found)
	}
}

// block returns the indented lines of a page that begin with a line.
func block(t *testing.T, text, first string) string {
	t.Helper()
	_, after, ok := strings.Cut(text, "\n    "+first)
	if !ok {
		t.Fatalf("no %q in the docs", first)
	}
	lines := []string{first}
	for line := range strings.Lines(after) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") && len(lines) > 1 {
			break
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return strings.Join(lines, "\n")
}

// nginx runs with the configuration that the docs recommend, at other addresses.
func nginx(t *testing.T, hub string) (address string, roots *x509.CertPool) {
	t.Helper()
	dir, text := t.TempDir(), page(t, "running-a-hub.md")
	address = freeAddress(t)
	roots = certificate(t, dir, "hub.example.org")
	server := strings.NewReplacer("listen 443 ssl", "listen "+address+" ssl", "127.0.0.1:8722", hub,
		"/etc/ssl/hub.example.org.pem", dir+"/cert.pem", "/etc/ssl/hub.example.org.key", dir+"/key.pem").Replace(block(t, text, "server {"))
	if !strings.Contains(server, address) || !strings.Contains(server, hub) || !strings.Contains(server, dir+"/key.pem") {
		t.Fatalf("the docs have changed:\n%s", server)
	}
	config := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	config += block(t, text, "map $http_upgrade") + "\n" + server + "\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if path, err := exec.LookPath("/usr/sbin/nginx"); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	waitFor(t, log, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address, roots
}

func waitFor(t *testing.T, log *output, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", log)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func certificate(t *testing.T, dir, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, b := range map[string][]byte{"cert.pem": public, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	return pool
}

// A device reaches the hub through nginx as the docs set it up, with the headers
// of the app as the hub sent them.
func TestBehindNginx(t *testing.T) {
	r := start(t, "--behind-proxy", "--public-url", "https://hub.example.org", "--listen", "127.0.0.1:0", "--state", t.TempDir())
	address, roots := nginx(t, r.logged("address"))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hub.example.org"},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport}
	resp, err := client.Get("https://hub.example.org/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(resp.Header.Values("Content-Security-Policy")) != 1 {
		t.Errorf("headers of the page: %v", resp.Header)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "https://hub.example.org"+hubwire.Path, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{hubwire.Subprotocol},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
	defer ws.CloseNow()
	_, b, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := hubwire.ParseMessage(b); err != nil || m.Type != hubwire.TypeChallenge || m.Origin != "https://hub.example.org" {
		t.Errorf("the hub begins with %+v, %v", m, err)
	}
}
