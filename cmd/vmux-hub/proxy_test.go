package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/hub/front"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// proxies run with the configurations that the docs recommend, at other addresses.
var proxies = map[string]func(t *testing.T, p proxy) *exec.Cmd{
	"nginx": nginx, "haproxy": haproxy, "caddy": caddy, "apache": apache,
}

// proxy is where one listens, what it leads to, and its own folder, with cert.pem
// and key.pem.
type proxy struct{ address, hub, dir string }

// configure takes a configuration from the docs and puts other words into it, each
// of which must be there.
func (p proxy) configure(t *testing.T, text string, words ...string) string {
	t.Helper()
	words = append(words, "127.0.0.1:8722", p.hub)
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Fatalf("no %q in the docs any more:\n%s", words[i], text)
		}
		text = strings.ReplaceAll(text, words[i], words[i+1])
	}
	return text
}

func (p proxy) write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(p.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func nginx(t *testing.T, p proxy) *exec.Cmd {
	text := page(t, "running-a-hub.md")
	server := p.configure(t, block(t, text, "server {"), "listen 443 ssl", "listen "+p.address+" ssl",
		"/etc/ssl/hub.example.org.pem", p.dir+"/cert.pem", "/etc/ssl/hub.example.org.key", p.dir+"/key.pem")
	return p.nginx(t, block(t, text, "map $http_upgrade")+"\n"+server)
}

// nginx runs it with servers for HTTP.
func (p proxy) nginx(t *testing.T, servers string) *exec.Cmd {
	config := "daemon off;\nmaster_process off;\npid " + p.dir + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + p.dir + "/" + kind + ";\n"
	}
	return exec.Command("nginx", "-p", p.dir, "-e", "stderr", "-c", p.write(t, "nginx.conf", config+servers+"\n}\n"))
}

func haproxy(t *testing.T, p proxy) *exec.Cmd {
	var both []byte
	for _, name := range []string{"cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, b...)
	}
	config := p.configure(t, block(t, page(t, "running-a-hub.md"), "frontend vmux"), "bind :443", "bind "+p.address,
		"/etc/haproxy/hub.example.org.pem", p.write(t, "both.pem", string(both)))
	return exec.Command("haproxy", "-db", "-f", p.write(t, "haproxy.cfg", config+"\n"))
}

func caddy(t *testing.T, p proxy) *exec.Cmd {
	config := p.configure(t, block(t, page(t, "running-a-hub.md"), "hub.example.org {"),
		"hub.example.org {", "https://"+p.address+", https://hub.example.org:"+p.address[strings.LastIndex(p.address, ":")+1:]+
			" {\n    tls "+p.dir+"/cert.pem "+p.dir+"/key.pem\n    bind 127.0.0.1\n")
	config = "{\n    admin off\n    auto_https disable_redirects\n}\n" + config + "\n"
	cmd := exec.Command("caddy", "run", "--adapter", "caddyfile", "--config", p.write(t, "Caddyfile", config))
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	return cmd
}

func apache(t *testing.T, p proxy) *exec.Cmd {
	host := p.configure(t, block(t, page(t, "running-a-hub.md"), "<VirtualHost *:443>"), "*:443", p.address,
		"/etc/ssl/hub.example.org.pem", p.dir+"/cert.pem", "/etc/ssl/hub.example.org.key", p.dir+"/key.pem")
	config := "ServerRoot " + p.dir + "\nPidFile " + p.dir + "/pid\nErrorLog /dev/stderr\nListen " + p.address + "\n"
	for _, module := range []string{"mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http"} {
		config += "LoadModule " + module + "_module /usr/lib/apache2/modules/mod_" + module + ".so\n"
	}
	config += "User nobody\nGroup nogroup\n" // which root's becomes, since it does not serve as root
	// -X: one process, which ends as a whole.
	return exec.Command("apache2", "-X", "-f", p.write(t, "apache.conf", config+host+"\n"))
}

// before starts a proxy before a hub, and returns a client that finds
// hub.example.org there.
func before(t *testing.T, configure func(*testing.T, proxy) *exec.Cmd, hub string) *http.Client {
	t.Helper()
	p := proxy{address: testkit.FreeAddress(t), hub: hub, dir: t.TempDir()}
	roots := certificate(t, p.dir, "hub.example.org")
	cmd := configure(t, p)
	if cmd.Err != nil { // servers are often not on an ordinary user's PATH
		if path, err := exec.LookPath("/usr/sbin/" + cmd.Path); err == nil {
			cmd.Path, cmd.Err = path, nil
		}
	}
	log := &testkit.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	waitFor(t, log, func() bool {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return clientOf(p.address, roots)
}

func clientOf(address string, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hub.example.org"},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// challenged is a device that reaches the hub.
func challenged(t *testing.T, client *http.Client, log *testkit.Output, header http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "https://hub.example.org"+hubwire.Path, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{hubwire.Subprotocol}, HTTPHeader: header,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
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

// A device reaches the hub through each proxy as the docs set it up, with the
// headers of the app as the hub sent them.
func TestBehindProxies(t *testing.T) {
	r := start(t, "--behind-proxy", "--public-url", "https://hub.example.org", "--listen", "127.0.0.1:0", "--state", t.TempDir())
	for name, configure := range proxies {
		t.Run(name, func(t *testing.T) {
			client := before(t, configure, r.logged("address"))
			resp, err := client.Get("https://hub.example.org/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || len(resp.Header.Values("Content-Security-Policy")) != 1 {
				t.Errorf("the page: %d, %v", resp.StatusCode, resp.Header)
			}
			challenged(t, client, r.log, http.Header{"Origin": {"https://hub.example.org"}}) // browsers send it
		})
	}
}

// A proxy that is set up as for any other site, without a word of WebSockets (ws 780,
// hive 5199): a computer says that it is that which is missing.
func TestProxyWithoutWebSockets(t *testing.T) {
	r := start(t, "--behind-proxy", "--public-url", "https://hub.example.org", "--listen", "127.0.0.1:0", "--state", t.TempDir())
	const upgrade, connection = "proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Connection $connection_upgrade;"
	for name, c := range map[string]struct {
		lines      []string // which are replaced
		by         string
		says, hint string
	}{
		"HTTP 1.0":       {[]string{"proxy_http_version 1.1;", upgrade, connection}, "", "passes no WebSockets on", "proxy_http_version 1.1"},
		"no upgrade":     {[]string{upgrade, connection}, "", "passes no WebSockets on", "proxy_http_version 1.1"},
		"no subprotocol": {[]string{"proxy_read_timeout 1h;"}, `proxy_set_header Sec-WebSocket-Protocol "";`, "WebSockets are of another kind", "pass the header Sec-WebSocket-Protocol on"},
		"nor back":       {[]string{"proxy_read_timeout 1h;"}, "proxy_hide_header Sec-WebSocket-Protocol;", "WebSockets are of another kind", "pass the header Sec-WebSocket-Protocol on"},
	} {
		t.Run(name, func(t *testing.T) {
			var way relay.Way
			before(t, func(t *testing.T, p proxy) *exec.Cmd {
				way.Address = p.address
				cmd := nginx(t, p)
				file := filepath.Join(p.dir, "nginx.conf")
				config, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text := string(config)
				for _, line := range c.lines {
					text = strings.ReplaceAll(text, line, c.by)
				}
				p.write(t, "nginx.conf", text)
				pem, err := os.ReadFile(filepath.Join(p.dir, "cert.pem"))
				if err != nil {
					t.Fatal(err)
				}
				if way.Roots, err = relay.Roots(pem); err != nil {
					t.Fatal(err)
				}
				return cmd
			}, r.logged("address"))
			_, err := relay.OpenSocket(t.Context(), "https://hub.example.org"+hubwire.Path, way)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(wire.HintOf(err), c.hint) {
				t.Errorf("%v, hint: %s", err, wire.HintOf(err))
			}
		})
	}
}

// Limits count by address: the hub must see the one that the proxy saw, and not the
// one that a client claims to have.
func TestProxiesNameTheClient(t *testing.T) {
	f, err := front.Open(front.Config{Listen: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://hub.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- f.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) }))
	}()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for name, configure := range proxies {
		t.Run(name, func(t *testing.T) {
			client := before(t, configure, f.Addr().String())
			request, err := http.NewRequest("GET", "https://hub.example.org/", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-Forwarded-For", "203.0.113.9")
			request.Header.Set("X-Forwarded-Proto", "http")
			resp, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "127.0.0.1:0" {
				t.Errorf("%d, the hub sees %q, %v", resp.StatusCode, b, err)
			}
		})
	}
}

// Traefik is not among Debian's packages. Its configuration names what belongs
// together, and the front's tests have the schemes that it sends.
func TestTraefikInDocs(t *testing.T) {
	text := block(t, page(t, "running-a-hub.md"), "[http.routers.vmux-hub]")
	for _, want := range []string{
		"rule = \"Host(`hub.example.org`)\"", `service = "vmux-hub"`, "[http.routers.vmux-hub.tls]",
		"[[http.services.vmux-hub.loadBalancer.servers]]\n    url = \"http://127.0.0.1:8722\"",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}
