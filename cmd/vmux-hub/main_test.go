package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
	"vmux/web/phone"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// running is a hub in this process.
type running struct {
	t      *testing.T
	log    *testkit.Output
	input  *io.PipeWriter
	status chan int
}

// start runs a hub until its input ends, with the test.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	in, input := io.Pipe()
	r := &running{t: t, log: &testkit.Output{}, input: input, status: make(chan int, 1)}
	go func() { r.status <- run(context.Background(), append(args, "--end-with-input"), in, r.log) }()
	t.Cleanup(r.stop)
	r.waitFor("hub is ready")
	return r
}

func (r *running) stop() {
	r.input.Close()
	if status, ok := <-r.status; ok && status != 0 {
		r.t.Errorf("status %d: %s", status, r.log)
	}
	close(r.status)
}

func (r *running) waitFor(text string) {
	r.t.Helper()
	waitFor(r.t, r.log, func() bool { return strings.Contains(r.log.String(), text) })
}

// logged waits until the log has key=, and returns what follows it: the hub is ready
// before it has said all.
func (r *running) logged(key string) string {
	r.t.Helper()
	var m []string
	waitFor(r.t, r.log, func() bool {
		m = regexp.MustCompile(key + `=("[^"]*"|\S+)`).FindStringSubmatch(r.log.String())
		return m != nil
	})
	return strings.Trim(m[1], `"`)
}

func curl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("curl", append([]string{"-sS", "--noproxy", "*"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v (run make setup if it is missing)\n%s", err, out)
	}
	return string(out)
}

func TestServesThisMachine(t *testing.T) {
	r := start(t, "--listen", "127.0.0.1:0", "--state", t.TempDir())
	url := r.logged("url")
	if got := curl(t, url+"/healthz"); got != "ok\n" {
		t.Errorf("health: %s", got)
	}
	if got := r.log.String(); !strings.Contains(got, "passkeys belong to a host name") || !strings.Contains(got, "--public-url http://vmux.localhost:") {
		t.Errorf("no warning of other pages at localhost:\n%s", got)
	}
	page := curl(t, "-i", url+"/")
	if !strings.Contains(page, "Content-Security-Policy: "+phone.ContentSecurityPolicy+"\r\n") || !strings.Contains(page, "text/html") {
		t.Errorf("the app's page:\n%s", page)
	}
	if got := curl(t, "-o", "/dev/null", "-w", "%{content_type}", url+"/sw.js"); got != "text/javascript; charset=utf-8" {
		t.Errorf("the app's service worker: %s", got)
	}
	named := start(t, "--listen", "127.0.0.1:0", "--public-url", "http://vmux.localhost:8722", "--state", t.TempDir())
	if got := named.log.String(); strings.Contains(got, "passkeys") {
		t.Errorf("a hub with a name of its own warns:\n%s", got)
	}
}

// A phone gets the root over HTTP, and then reaches hub and app over HTTPS.
func TestLocalCA(t *testing.T) {
	state := t.TempDir()
	r := start(t, "--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0", "--local-ca", "--local-name", "laptop.local", "--state", state)
	url, install := r.logged("url"), r.logged("open")
	resolve := func(url string) string {
		host, _, _ := strings.Cut(strings.SplitN(url, "//", 2)[1], "/")
		_, port, err := net.SplitHostPort(host)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("laptop.local:%s:127.0.0.1", port)
	}
	page := curl(t, "--resolve", resolve(install), install)
	if !strings.Contains(page, url) || !strings.Contains(page, "<span>"+strings.Fields(r.logged("sha256"))[31]+"</span>") {
		t.Errorf("the page about the CA:\n%s", page)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	curl(t, "--resolve", resolve(install), "-o", roots, strings.Replace(install, "/install-ca", "/ca.pem", 1))
	if got := curl(t, "--resolve", resolve(url), "--cacert", roots, url+"/healthz"); got != "ok\n" {
		t.Errorf("health: %s", got)
	}
	stored, err := os.ReadFile(filepath.Join(state, "ca", "root.pem"))
	if got, _ := os.ReadFile(roots); err != nil || !bytes.Equal(got, stored) {
		t.Errorf("the root in the state folder: %v", err)
	}
}

// What the flags make impossible is told apart from what may work later, so that
// nobody starts such a hub again and again.
func TestStatuses(t *testing.T) {
	state := t.TempDir()
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"--nonsense", exitUsage, "hint: vmux-hub --help"},
		{"argument", exitUsage, "unexpected argument"},
		{"--listen 0.0.0.0:0", exitUsage, "without TLS"},
		{"--behind-proxy --local-ca", exitUsage, "choose one"},
		{"--behind-proxy", exitUsage, "--public-url"},
		{"--tls-cert /none", exitUsage, "--tls-key"},
		{"--tls-cert /none --tls-key /none", exitFailed, "/none"},
		{"--public-url http://hub.example", exitUsage, "http is for localhost only"},
		{"--nats-creds /none", exitUsage, "--nats"},
		{"--listen nonsense --behind-proxy --public-url https://hub.example", exitUsage, "HOST:PORT"},
		{"--listen 127.0.0.1:99999", exitUsage, "up to 65535"},
		{"--local-ca --listen 127.0.0.1:0 --listen-http nonsense", exitUsage, "--listen-http accepts HOST:PORT"},
		{"--listen 127.0.0.1:0 --push-subject nonsense", exitUsage, "mailto:"},
		{"--listen 127.0.0.1:0 --push-subject https://laptop.home.arpa", exitUsage, "no name of the public DNS"},
		{"--listen 127.0.0.1:0 --push-subject mailto:root@localhost", exitUsage, "no name of the public DNS"},
		{"--listen 127.0.0.1:0 --state " + open, exitFailed, "hint: chmod 700"},
		{"--listen 256.0.0.1:1 --tls-cert /none --tls-key /none", exitFailed, "/none"},
	} {
		args := strings.Fields(test.args)
		if !strings.Contains(test.args, "--state") {
			args = append(args, "--state", state)
		}
		var errs testkit.Output
		if status := run(t.Context(), args, strings.NewReader(""), &errs); status != test.status || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: status %d, %s", test.args, status, &errs)
		}
	}
}
