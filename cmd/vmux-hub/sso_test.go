package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
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
	client := before(t, func(t *testing.T, p proxy) *exec.Cmd {
		locations := strings.NewReplacer("127.0.0.1:8722", p.hub, "http://127.0.0.1:4180", sso.URL).
			Replace(block(t, page(t, "places.md"), "location = /v1/connect {"))
		return p.nginx(t, "server {\nlisten "+p.address+" ssl;\nserver_name hub.example.org;\nssl_certificate "+p.dir+
			"/cert.pem;\nssl_certificate_key "+p.dir+"/key.pem;\n"+locations+"\n}")
	}, r.logged("address"))
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
	challenged(t, client, r.log, nil) // a device has no login
}
