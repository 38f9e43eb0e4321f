package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/link/hubwire"
	"vmux/internal/testkit"
)

// A login for people before the hub, as docs/places.md sets it up: devices come
// through without one, and the page, its manifest and the hub's health only with
// its cookie.
func TestBehindALogin(t *testing.T) {
	r := start(t, "--behind-proxy", "--public-url", "https://hub.example.org", "--listen", "127.0.0.1:0", "--state", t.TempDir())
	sso := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("login"); r.URL.Path == "/oauth2/auth" && (err != nil || c.Value != "ada") {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer sso.Close()
	dir, address := t.TempDir(), testkit.FreeAddress(t)
	roots := certificate(t, dir, "hub.example.org")
	locations := strings.NewReplacer("127.0.0.1:8722", r.logged("address"), "http://127.0.0.1:4180", sso.URL).
		Replace(block(t, page(t, "places.md"), "location = /v1/connect {"))
	config := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	config += "server {\nlisten " + address + " ssl;\nserver_name hub.example.org;\nssl_certificate " + dir + "/cert.pem;\nssl_certificate_key " +
		dir + "/key.pem;\n" + locations + "\n}\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "sso.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/nginx", "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "sso.conf"))
	log := &testkit.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waitFor(t, log, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hub.example.org"},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, path := range []string{"/", "/manifest.webmanifest", "/healthz"} {
		for cookie, want := range map[string]int{"": http.StatusFound, "login=ada": 0} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hub.example.org"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Cookie", cookie)
			resp, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			to := resp.Header.Get("Location")
			if want == 0 && resp.StatusCode >= 300 && resp.StatusCode < 404 || want != 0 && (resp.StatusCode != want || !strings.Contains(to, "/oauth2/start?rd=")) {
				t.Errorf("%s with cookie %q: status %d to %q", path, cookie, resp.StatusCode, to)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "https://hub.example.org"+hubwire.Path, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{hubwire.Subprotocol},
	})
	if err != nil {
		t.Fatalf("a device without a login: %v\n%s", err, log)
	}
	defer ws.CloseNow()
	if _, b, err := ws.Read(ctx); err != nil || !strings.Contains(string(b), "https://hub.example.org") {
		t.Errorf("the hub begins with %s, %v", b, err)
	}
}
