//go:build !js

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vmux/internal/wire"
)

// dialFor names what a process of its own dials: net/http reads the environment's
// proxies once for each process.
const dialFor = "VMUX_TEST_DIAL"

// TestDialFromEnvironment is what dialThrough runs.
func TestDialFromEnvironment(*testing.T) {
	address := os.Getenv(dialFor)
	if address == "" {
		return // nothing of its own
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := OpenSocket(ctx, address, Way{})
	fmt.Printf("dialled: %v; hint: %s\n", err, wire.HintOf(err))
}

func dialThrough(t *testing.T, proxy, address string) string {
	t.Helper()
	return dialWith(t, address, "HTTPS_PROXY="+proxy)
}

func dialWith(t *testing.T, address string, env ...string) string {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestDialFromEnvironment$", "-test.v")
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			c.Env = append(c.Env, e)
		}
	}
	c.Env = append(append(c.Env, env...), dialFor+"="+address)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "dialled: ")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// Behind a company's proxy an error says that there is one, and what it said; the
// hub's name stands before it. net/http alone says "Proxy Authentication Required".
func TestErrorsNameTheProxy(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer refusing.Close()
	wanting := func(logins ...string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Proxy-Authenticate"] = logins
			w.WriteHeader(http.StatusProxyAuthRequired)
		}))
		t.Cleanup(s.Close)
		return s
	}
	// One that ends the TLS itself, as those do that look for viruses.
	inspecting := httptest.NewTLSServer(http.NotFoundHandler())
	defer inspecting.Close()
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		far, err := net.Dial("tcp", inspecting.Listener.Addr().String())
		if err != nil {
			return
		}
		near, begun, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, begun); far.Close() }() // what the server has read already first
		_, _ = io.Copy(near, far)
		near.Close()
	}))
	defer tunnel.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, test := range []struct{ proxy, want string }{
		{refusing.URL, "it refuses to connect to hub.example:443: 407 Proxy Authentication Required"},
		{wanting("Negotiate", `basic realm="x"`).URL, "407 Proxy Authentication Required; hint: see that HTTPS_PROXY is right"},
		{wanting("Negotiate", "NTLM").URL, "(it wants NTLM, Negotiate or the like); hint: that proxy takes no user and password"}, // cloudfoundry/cli#577
		{closed.URL, "connection refused"},
		{tunnel.URL, "failed to verify certificate"},
	} {
		at := strings.TrimPrefix(test.proxy, "http://")
		got := dialThrough(t, "http://user:secret@"+at, "https://hub.example/v1/connect")
		if !strings.HasPrefix(got, "through the proxy "+at+" (HTTPS_PROXY): ") || !strings.Contains(got, test.want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", test.want, got)
		}
	}
}

// A password with characters that end a URL early, or make none of it, leads to another
// proxy, or silently to none. The error says so, and nothing of the password.
func TestErrorsSayThatTheProxyIsMisread(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	at := strings.TrimPrefix(closed.URL, "http://")
	for _, proxy := range []string{
		"http://user:12%cret@" + at, "http://user:12#cret@" + at, "http://user:12/cret@" + at, "http://user:12 cret@" + at, "user:12%cret@" + at,
	} {
		got := dialThrough(t, proxy, "https://hub.example/v1/connect")
		if !strings.HasPrefix(got, "HTTPS_PROXY is misread, since ") || strings.Contains(got, "cret") || strings.Contains(got, "user:12") {
			t.Errorf("%s: %s", proxy, got)
		}
	}
	if got := dialThrough(t, "http://user:12%25%23%2F@cret@"+at+"/", "https://hub.example/v1/connect"); !strings.HasPrefix(got, "through the proxy "+at+" ") {
		t.Errorf("written as it has to be: %s", got)
	}
}

// curl and git go through ALL_PROXY, net/http does not: somebody who set it alone is told.
func TestErrorsSayThatAllProxyIsNotRead(t *testing.T) {
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if got := dialWith(t, "https://hub.invalid/v1/connect", name+"=socks5://127.0.0.1:9"); !strings.Contains(got, "hint: ALL_PROXY is set, which vmux does not read") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := dialThrough(t, "", "https://hub.invalid/v1/connect"); strings.Contains(got, "ALL_PROXY") {
		t.Errorf("none is set: %s", got)
	}
}

// What a hub, or the proxy before it, answers in place of a WebSocket is shown if
// it is text.
func TestRefusalIsShown(t *testing.T) {
	for kind, want := range map[string]string{
		"text/plain; charset=utf-8": "HTTP status 403: Its proxy says http. hint: set the header",
		"text/html":                 "HTTP status 403",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "Its proxy says http.\nhint: set the header\n")
		}))
		_, err := OpenSocket(t.Context(), s.URL+"/v1/connect", Way{})
		if !errors.Is(err, errNotHub) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
		s.Close()
	}
}
