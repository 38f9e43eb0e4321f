package front

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"vmux/internal/wire"
)

// Whoever types the hub's name and port without https, as browsers then ask by HTTP, is led
// to the hub (caddy 5925), also with more cookies than TLS would read at once; what only
// came in clear by mistake is not done.
func TestHTTPWhereTLSIsSpoken(t *testing.T) {
	f := serve(t, home(t.TempDir()))
	for path, cookie := range map[string]string{"/": "a=b", "/app?q=1": strings.Repeat("x", 8<<10)} {
		resp, text := request(t, f, "GET", path, "Cookie", cookie)
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusTemporaryRedirect || to != f.PublicURL()+path {
			t.Errorf("%s: status %d, to %s", path, resp.StatusCode, to)
		}
		if !strings.Contains(text, f.PublicURL()) {
			t.Errorf("%s: %q", path, text)
		}
	}
	if resp, _ := request(t, f, "GET", "/v1/connect", "Connection", "Upgrade", "Upgrade", "websocket"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a device in clear: status %d", resp.StatusCode)
	}
	out, err := exec.Command("curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{redirect_url}", "http://"+f.Addr().String()+"/").CombinedOutput()
	if err != nil || string(out) != f.PublicURL()+"/" {
		t.Errorf("curl: %v: %s", err, out)
	}
}

// A load balancer that begins connections with the PROXY protocol is named (vitobotta/hetzner-k3s#87,
// binwiederhier/ntfy#1563); its own log says 400, or that the hub ends the connection.
func TestProxyProtocolIsNamed(t *testing.T) {
	for way, c := range map[string]Config{
		"TLS":            home(t.TempDir()),
		"behind a proxy": {Listen: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://hub.example"},
	} {
		for version, begin := range map[string]string{
			"1": "PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\nGET / HTTP/1.1\r\n\r\n",
			"2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x9c\x40\x01\xbb",
		} {
			log, logged := logger(t)
			c.Log = log
			f := serve(t, c)
			for range 2 {
				conn, err := net.Dial("tcp", f.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(conn, begin); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
			if n := strings.Count(logged(), "PROXY protocol"); n != 1 {
				t.Errorf("%s, version %s: said %d times\n%s", way, version, n, logged())
			}
		}
	}
}

// A proxy that goes to the hub by https, where the hub speaks HTTP, is told of (caddyserver/caddy#2883):
// it says "wrong version number".
func TestTLSWhereHTTPIsSpoken(t *testing.T) {
	log, logged := logger(t)
	f := serve(t, Config{Listen: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://hub.example", Log: log})
	for range 2 {
		if c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{ServerName: "hub.example"}); err == nil {
			c.Close()
			t.Error("TLS")
		}
	}
	if n := strings.Count(logged(), "let it go to http://"+f.Addr().String()); n != 1 {
		t.Errorf("said %d times\n%s", n, logged())
	}
}

// What keeps a hub from listening comes with what to do (gtsteffaniak/filebrowser#2598).
func TestListenHints(t *testing.T) {
	taken := serve(t, Config{Listen: "127.0.0.1:0"})
	_, err := Open(Config{Listen: taken.Addr().String()})
	_, absent := Open(Config{Listen: "192.0.2.1:443", BehindProxy: true, PublicURL: "https://hub.example"})
	for hint, err := range map[string]error{
		"or not yet":           absent, // tailscale/tailscale#11504
		"ss -ltnp":             err,
		"cap_net_bind_service": &listenError{"--listen", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}},
	} {
		if err == nil || !strings.Contains(wire.HintOf(err), hint) {
			t.Errorf("%v; hint: %s", err, wire.HintOf(err))
		}
	}
}
