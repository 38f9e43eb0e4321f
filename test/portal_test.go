//go:build linux

package test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startPortal runs this program as the host that answers names and pages.
func startPortal(t *testing.T) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "nsenter", "--net=/run/netns/portal", os.Args[0], "-test.run=^TestPortalHost$")
	c.Env = append(os.Environ(), netnsRole+"=portal")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil { // it says that it is there
		t.Fatal(err)
	}
}

// TestPortalHost is the host that answers names, in a process of its own.
func TestPortalHost(t *testing.T) {
	if os.Getenv(netnsRole) != "portal" {
		return // nothing of its own
	}
	dir := os.Getenv("VMUX_TEST_NETNS_DIR")
	hubCertificate(t, dir, "portal.example")
	page := func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "mode"))
		return err == nil && string(b) == "page"
	}
	names, err := net.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<h1>Welcome, guest</h1>")
	})
	go func() { _ = http.ListenAndServe(":80", answer) }()
	go func() {
		_ = http.ListenAndServeTLS(":443", filepath.Join(dir, "hub.pem"), filepath.Join(dir, "hub.key"), answer)
	}()
	fmt.Println("ready")
	for b := make([]byte, 1500); ; {
		n, from, err := names.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if reply := answerName(b[:n], page()); reply != nil {
			_, _ = names.WriteTo(reply, from)
		}
	}
}

// answerName answers one question of DNS (RFC 1035 section 4): with the hub's
// addresses, or in a network with a login page with this host's, whatever the name.
func answerName(q []byte, page bool) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	end, name := header, ""
	for end < len(q) && q[end] != 0 {
		n := int(q[end])
		if end+1+n > len(q) {
			return nil
		}
		name += string(q[end+1:end+1+n]) + "."
		end += 1 + n
	}
	if end += 5; end > len(q) {
		return nil
	}
	kind := binary.BigEndian.Uint16(q[end-4:])
	addresses := map[string]string{
		"hub.example. 1": "192.0.2.3", "hub.example. 28": "64:ff9b::c000:203", "ipv4only.arpa. 28": "64:ff9b::c000:aa",
	}
	ip := net.ParseIP(addresses[fmt.Sprintf("%s %d", strings.ToLower(name), kind)])
	if page {
		ip = nil
		if kind == typeA {
			ip = net.ParseIP("192.0.2.4")
		}
	}
	reply := append([]byte{}, q[:end]...)
	reply[2], reply[3] = 0x84, 0 // an answer, by authority
	clear(reply[6:header])
	if ip == nil {
		return reply
	}
	reply[7] = 1
	data := ip.To4()
	if kind == typeAAAA {
		data = ip.To16()
	}
	reply = append(reply, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
	return append(reply, data...)
}
