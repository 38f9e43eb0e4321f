package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vmux/internal/testkit"
)

// marionette speaks Firefox's own protocol of WebDriver's commands: JSON arrays
// over TCP, each after its length and a colon.
// https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
type marionette struct {
	conn net.Conn
	in   *bufio.Reader
	last int // the number of the command
}

func (m *marionette) send(c command, parameters map[string]any) (json.RawMessage, error) {
	result, err := m.call(c.name, parameters)
	if err != nil {
		return nil, err
	}
	var answer struct{ Value json.RawMessage }
	if err := json.Unmarshal(result, &answer); err != nil || answer.Value == nil {
		return result, nil // some commands answer with the value alone
	}
	return answer.Value, nil
}

func (m *marionette) clickOn(element string) error {
	_, err := m.call("WebDriver:ElementClick", map[string]any{"id": element})
	return err
}

func (m *marionette) typeInto(element, text string) error {
	_, err := m.call("WebDriver:ElementSendKeys", map[string]any{"id": element, "text": text})
	return err
}

func (m *marionette) call(name string, parameters map[string]any) (json.RawMessage, error) {
	if err := m.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	m.last++
	if parameters == nil {
		parameters = map[string]any{}
	}
	message, err := json.Marshal([]any{0, m.last, name, parameters})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(message), message); err != nil {
		return nil, err
	}
	answer, err := m.read()
	if err != nil {
		return nil, err
	}
	var parts [4]json.RawMessage // 1, the command's number, error, result
	if err := json.Unmarshal(answer, &parts); err != nil {
		return nil, err
	}
	if string(parts[1]) != fmt.Sprint(m.last) {
		return nil, fmt.Errorf("an answer to command %s, not %d", parts[1], m.last)
	}
	if string(parts[2]) != "null" {
		return nil, failed(parts[2])
	}
	return parts[3], nil
}

func (m *marionette) read() ([]byte, error) {
	length, err := m.in.ReadString(':')
	if err != nil {
		return nil, err
	}
	var n int
	if _, err := fmt.Sscanf(length, "%d:", &n); err != nil {
		return nil, err
	}
	message := make([]byte, n)
	_, err = io.ReadFull(m.in, message)
	return message, err
}

// preferences keep Firefox to this machine, and let it have passkeys of a
// virtual authenticator only.
var preferences = map[string]any{
	"marionette.port":                            0, // one that is free
	"app.update.auto":                            false,
	"app.update.disabledForTesting":              true,
	"app.normandy.enabled":                       false,
	"browser.safebrowsing.malware.enabled":       false,
	"browser.safebrowsing.phishing.enabled":      false,
	"browser.shell.checkDefaultBrowser":          false,
	"datareporting.policy.dataSubmissionEnabled": false,
	"extensions.update.enabled":                  false,
	"network.captive-portal-service.enabled":     false,
	"network.connectivity-service.enabled":       false,
	"security.webauth.webauthn_enable_usbtoken":  false,
	"security.webauth.webauthn_enable_softtoken": true,
	"services.settings.server":                   "data:,#",
	"toolkit.telemetry.reportingpolicy.firstRun": false,
	"browser.startup.page":                       0,
	"browser.startup.homepage_override.mstone":   "ignore",
	"dom.disable_open_during_load":               false, // a window of a phone's size
	"browser.newtabpage.enabled":                 false,
}

func writePreferences(t TB, profile string, dark bool, more ...string) {
	t.Helper()
	var text strings.Builder
	scheme := map[bool]int{true: 0, false: 1}[dark]
	fmt.Fprintf(&text, "user_pref(\"layout.css.prefers-color-scheme.content-override\", %d);\n", scheme)
	for name, value := range preferences {
		fmt.Fprintf(&text, "user_pref(%q, %#v);\n", name, value)
	}
	for _, name := range more {
		fmt.Fprintf(&text, "user_pref(%q, true);\n", name)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(text.String()), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
}

// StartFirefox starts Firefox with a profile of its own until the test ends; on are
// preferences that are switched on.
func StartFirefox(t TB, dark bool, on ...string) *Remote {
	t.Helper()
	profile := t.TempDir()
	writePreferences(t, profile, dark, on...)
	env := []string{"HOME=" + profile, "MOZ_CRASHREPORTER_DISABLE=1", "MOZ_HEADLESS_WIDTH=1280", "MOZ_HEADLESS_HEIGHT=1024"}
	written := program(t, env, "firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile, "about:blank")
	var port []byte
	testkit.WaitFor(t, "Marionette listens", func() (is bool) {
		var err error
		port, err = os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		return err == nil && len(port) > 0
	})
	conn, err := net.Dial("tcp", "127.0.0.1:"+string(port))
	if err != nil {
		t.Fatalf("%v\n%s", err, written())
	}
	t.Cleanup(func() { _ = conn.Close() })
	m := &marionette{conn: conn, in: bufio.NewReader(conn)}
	if _, err := m.read(); err != nil { // its greeting
		t.Fatalf("%v", err)
	}
	if _, err := m.send(newSession, map[string]any{"capabilities": map[string]any{}}); err != nil {
		t.Fatalf("start Firefox: %v\n%s", err, written())
	}
	return newRemote(t, m)
}
