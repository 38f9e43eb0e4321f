package browser

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"vmux/internal/testkit"
)

// miniBrowsers are where Debian keeps the browser that WebKitGTK comes with.
const miniBrowsers = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser"

// webDriverHTTP speaks WebDriver over HTTP.
type webDriverHTTP struct {
	client  *http.Client
	session string // its URL
}

func (d *webDriverHTTP) send(c command, parameters map[string]any) (json.RawMessage, error) {
	return d.request(c.method, c.path, parameters)
}

func (d *webDriverHTTP) clickOn(element string) error {
	_, err := d.request("POST", "/element/"+element+"/click", map[string]any{})
	return err
}

func (d *webDriverHTTP) typeInto(element, text string) error {
	_, err := d.request("POST", "/element/"+element+"/value", map[string]any{"text": text})
	return err
}

func (d *webDriverHTTP) request(method, path string, parameters map[string]any) (json.RawMessage, error) {
	body, err := json.Marshal(parameters)
	if err != nil {
		return nil, err
	}
	if method == "GET" {
		body = nil
	}
	request, err := http.NewRequest(method, d.session+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, failed(answer.Value)
	}
	return answer.Value, nil
}

// startDisplay starts an X server without a screen, and returns its name.
func startDisplay(t TB) string {
	t.Helper()
	written := program(t, nil, "Xvfb", "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
	number := regexp.MustCompile(`(?m)^\d+$`) // beside what it warns of
	testkit.WaitFor(t, "the display is there", func() bool { return number.MatchString(written()) })
	return ":" + number.FindString(written())
}

func miniBrowser(t TB) string {
	t.Helper()
	found, err := filepath.Glob(miniBrowsers)
	if err != nil || len(found) == 0 {
		t.Fatalf("WebKitGTK's MiniBrowser is missing: run `make setup`")
	}
	return found[0]
}

// gtkHome makes a home in which a window can be as narrow as a phone: the bar of
// its hidden search would not let it.
func gtkHome(t TB) string {
	t.Helper()
	home := t.TempDir()
	settings := filepath.Join(home, ".config", "gtk-3.0")
	err := os.MkdirAll(settings, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(settings, "gtk.css"), []byte("searchbar * { min-width: 0; padding: 0; margin: 0; border: 0 }"), 0o600)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	return home
}

// StartWebKit starts a browser of WebKitGTK until the test ends, which stores
// nothing beyond that.
func StartWebKit(t TB, dark bool, env ...string) *Remote {
	t.Helper()
	if dark {
		env = append(env, "GTK_THEME=Adwaita:dark")
	}
	port := testkit.FreePort(t)
	home := gtkHome(t)
	env = append(env, "DISPLAY="+startDisplay(t), "HOME="+home, "XDG_RUNTIME_DIR="+home,
		"GDK_BACKEND=x11", "LIBGL_ALWAYS_SOFTWARE=1", "NO_AT_BRIDGE=1")
	written := program(t, env, "WebKitWebDriver", "--port="+port)
	d := &webDriverHTTP{client: &http.Client{Transport: &http.Transport{}, Timeout: patience}, session: "http://127.0.0.1:" + port + "/session"}
	t.Cleanup(d.client.CloseIdleConnections)
	testkit.WaitFor(t, "WebKitWebDriver listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	args := []string{"--automation", "--javascript-can-open-windows-automatically=true"}
	value, err := d.send(newSession, map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"webkitgtk:browserOptions": map[string]any{"binary": miniBrowser(t), "args": args},
	}}})
	if err != nil {
		t.Fatalf("start WebKit: %v\n%s", err, written())
	}
	var session struct{ SessionID string }
	if err := json.Unmarshal(value, &session); err != nil {
		t.Fatalf("%v", err)
	}
	d.session += "/" + session.SessionID
	t.Cleanup(func() { _, _ = d.request("DELETE", "", nil) }) // before the driver is killed: it ends the browser
	return newRemote(t, d)
}
