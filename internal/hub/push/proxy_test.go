package push

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
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
