//go:build linux

package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// tamperer stands before a hub, as a hub in wrong hands would: it passes on
// everything, and changes one file while it is told to.
type tamperer struct {
	origin string // its own
	file   atomic.Pointer[string]
}

func newTamperer(t *testing.T, hub string) *tamperer {
	t.Helper()
	to, err := url.Parse(hub)
	if err != nil {
		t.Fatal(err)
	}
	x := &tamperer{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Del("Accept-Encoding") // a line can be added to plain text
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		if file := x.file.Load(); file == nil || r.Request.URL.Path != *file {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = append(b, "\n// one line more\n"...)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Length", fmt.Sprint(len(b)))
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	x.origin = "http://localhost:" + port
	return x
}

// change makes a file differ; empty is none.
func (x *tamperer) change(file string) {
	if file == "" {
		x.file.Store(nil)
		return
	}
	x.file.Store(&file)
}

// The computer compares the page that its hub serves with the one of its own build:
// the real hub passes, and one changed file fails the command, names the file, and
// stands in the status until the page is right again.
func TestHubVerify(t *testing.T) {
	t.Parallel()
	if _, err := hubProgram(); err != nil { // which the agent starts
		t.Fatal(err)
	}
	t.Run("the agent's own", func(t *testing.T) {
		t.Parallel()
		port := freePort(t)
		w := unpairedWorld(t)
		w.startAgent("--lan=false", "--hub", "local", "--hub-listen", "127.0.0.1:"+port)
		w.waitHub(true)
		r := w.computer.try("hub", "verify")
		if r.exit != 0 || r.stdout != "" || !strings.Contains(r.stderr, "vmux: http://vmux.localhost:"+port+" serves the page of this build: ") {
			t.Errorf("exit %d, stdout %q, stderr %s", r.exit, r.stdout, r.stderr)
		}
		// The same by its URL, which needs no agent.
		if r := newHome(t).try("hub", "verify", "http://vmux.localhost:"+port); r.exit != 0 {
			t.Errorf("by its URL: exit %d, %s", r.exit, r.stderr)
		}
	})
	t.Run("one changed file", func(t *testing.T) {
		t.Parallel()
		port := freePort(t)
		evil := newTamperer(t, "http://127.0.0.1:"+port)
		startHub(newHome(t), "--listen", "127.0.0.1:"+port, "--public-url", evil.origin)
		w := unpairedWorld(t)
		w.startAgent("--lan=false", "--hub", evil.origin)
		w.waitHub(true)
		if r := w.computer.try("hub", "verify"); r.exit != 0 {
			t.Fatalf("nothing is changed yet: exit %d, %s%s", r.exit, r.stdout, r.stderr)
		}
		for _, file := range []string{"/sw.js", "/app.js"} {
			evil.change(file)
			for name, r := range map[string]result{
				"by the agent": w.computer.try("hub", "verify"),
				"by its URL":   newHome(t).try("hub", "verify", evil.origin),
			} {
				if r.exit != 1 || !strings.HasPrefix(r.stdout, file+" is another file: its SHA-256 is ") || strings.Count(r.stdout, "\n") != 1 ||
					!strings.Contains(r.stderr, "vmux: the hub serves another page than this version of vmux was built with\nhint: open and unlock nothing on that page") {
					t.Errorf("%s, %s: exit %d, stdout %q, stderr %s", file, name, r.exit, r.stdout, r.stderr)
				}
			}
			w.waitStatus("`vmux hub verify` names them")
			evil.change("")
			w.computer.run("hub", "verify")
			if r := w.computer.try("status"); strings.Contains(r.stdout+r.stderr, "hub verify") {
				t.Errorf("the page is right again, and the status says:\n%s%s", r.stdout, r.stderr)
			}
		}
	})
	t.Run("a hub that is away", func(t *testing.T) {
		t.Parallel()
		if r := newHome(t).try("hub", "verify", "http://localhost:"+freePort(t)); r.exit != 1 || !strings.Contains(r.stderr, "\nhint: curl -v http://localhost:") {
			t.Errorf("exit %d, %s", r.exit, r.stderr)
		}
	})
}
