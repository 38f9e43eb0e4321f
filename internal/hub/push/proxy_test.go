package push

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// asProxied has this test's program run again as a hub behind a proxy: net/http reads the
// environment once in a process.
const asProxied = "VMUX_TEST_PUSH_PROXIED"

// A hub that reaches the outside by a proxy alone wakes phones through it, by the services
// that browsers come with (Rocket.Chat#14742, web-push#280). The proxy is at home, which is
// no reason to refuse it; an unknown service's endpoint does not get to it.
func TestKnownServicesThroughTheProxy(t *testing.T) {
	if os.Getenv(asProxied) != "" {
		w := newWorld(t)
		hub := w.service(Config{}) // as it runs: without loopback
		defer hub.Close()
		hub.firstAttempt = time.Second
		for _, host := range []string{"push.example.org", "web.push.apple.com"} {
			if err := hub.Subscribe(t.Context(), phone, w.subscription("https://"+host+"/token"), nil); err != nil {
				t.Fatal(err)
			}
			fmt.Println("told:", hub.Wake(t.Context(), phone, phone))
		}
		return
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	asked := make(chan string, 10)
	go func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				close(asked)
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				asked <- r.Method + " " + r.Host
			}
			_, _ = fmt.Fprint(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			conn.Close()
		}
	}()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asProxied+"=1", "HTTPS_PROXY=http://"+proxy.Addr().String(), "NO_PROXY=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	proxy.Close()
	hosts := map[string]bool{}
	for request := range asked {
		hosts[request] = true
	}
	if len(hosts) != 1 || !hosts["CONNECT web.push.apple.com:443"] {
		t.Errorf("the proxy was asked for %v\n%s", hosts, out)
	}
	if strings.Count(string(out), "told:") != 2 {
		t.Errorf("%s", out)
	}
}

// names has every name lead to this machine, while the test runs.
func names(t *testing.T) {
	t.Helper()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() { // as DNS over TCP: each message behind its length
			defer there.Close()
			var length [2]byte
			_, _ = io.ReadFull(there, length[:])
			question := make([]byte, binary.BigEndian.Uint16(length[:]))
			_, _ = io.ReadFull(there, question)
			var m dnsmessage.Message
			if m.Unpack(question) != nil || len(m.Questions) != 1 {
				return
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 7}},
				}}
			}
			answer, _ := m.Pack()
			_, _ = there.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}()
		return here, nil
	}}
}

// A VPN or proxy of the hub's machine gives every name an address of its own making, such as
// 198.18.0.7, and takes the connection from there (openclaw#59395, hermes-agent#112529). No push
// went out: "the push service's address is not public". The services that browsers come with are
// known by their certificates; whoever else names an endpoint is still kept from what is inside.
func TestKnownServicesAtAnyAddress(t *testing.T) {
	names(t)
	for host, refused := range map[string]bool{"web.push.apple.com": false, "push.example.org": true} {
		transport := newClient(nil, isKnown("https://"+host)).Transport.(*http.Transport)
		conn, err := transport.DialContext(t.Context(), "tcp", host+":443")
		if errors.Is(err, errNotPublic) != refused || err != nil && !refused && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", host, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}
