package front

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
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
