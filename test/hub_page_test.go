//go:build linux

package test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"vmux/internal/hubpage"
	"vmux/internal/testkit"
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

// builtWithPage builds both programs with one page: that of the sources, but for a
// few bytes in place of the signer, which only browsers run and which takes minutes
// to build. Vmux has the list of that page, as `make build` makes it.
func builtWithPage(t *testing.T) (vmux, hub string) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "static"), os.DirFS(filepath.Join(root, "web/phone/static"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dist"), 0o700); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("no program")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "list.json")
	replace := map[string]string{filepath.Join(root, hubpage.ListFile): list}
	for name, contents := range map[string][]byte{
		"vmux.wasm.gz": packed.Bytes(), "vmux.wasm.br": nil, "wasm_exec.js": []byte("// none\n"),
	} {
		path := filepath.Join(dir, "dist", name)
		if contents == nil {
			path = ""
		} else if err := os.WriteFile(path, contents, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, "web/phone/dist", name)] = path
	}
	listing := exec.Command("go", "run", "vmux/web/phone/build", "-list", dir, "-to", list)
	listing.Dir = root
	if out, err := listing.CombinedOutput(); err != nil {
		t.Fatalf("list the page's files: %v\n%s", err, out)
	}
	if err := testkit.Build(dir, replace, "vmux/cmd/vmux", "vmux/cmd/vmux-hub"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "vmux"), filepath.Join(dir, "vmux-hub")
}

// The computer compares the page that its hub serves with the one of its own build:
// the real hub passes, and one changed file fails the command, names the file, and
// stands in the status until the page is right again.
func TestHubVerify(t *testing.T) {
	t.Parallel()
	vmux, hub := builtWithPage(t)
	home := func(t *testing.T) *home {
		h := newHome(t)
		h.program = vmux
		return h
	}
	t.Run("the agent's own", func(t *testing.T) {
		t.Parallel()
		port := testkit.FreePort(t)
		w := &world{TB: t, computer: home(t)}
		w.startAgent("--lan=false", "--hub", "local", "--hub-listen", "127.0.0.1:"+port)
		w.waitHub(true)
		r := w.computer.try("hub", "verify")
		if r.exit != 0 || r.stdout != "" || !strings.Contains(r.stderr, "vmux: http://vmux.localhost:"+port+" serves the page of this build: ") {
			t.Errorf("exit %d, stdout %q, stderr %s", r.exit, r.stdout, r.stderr)
		}
		// The same by its URL, which needs no agent.
		if r := home(t).try("hub", "verify", "http://vmux.localhost:"+port); r.exit != 0 {
			t.Errorf("by its URL: exit %d, %s", r.exit, r.stderr)
		}
	})
	t.Run("one changed file", func(t *testing.T) {
		t.Parallel()
		port := testkit.FreePort(t)
		evil := newTamperer(t, "http://127.0.0.1:"+port)
		home(t).startProgram("hub.log", hub, "--listen", "127.0.0.1:"+port, "--public-url", evil.origin).waitLog("hub is ready")
		w := &world{TB: t, computer: home(t)}
		w.startAgent("--lan=false", "--hub", evil.origin)
		w.waitHub(true)
		if r := w.computer.try("hub", "verify"); r.exit != 0 {
			t.Fatalf("nothing is changed yet: exit %d, %s%s", r.exit, r.stdout, r.stderr)
		}
		for _, file := range []string{"/sw.js", "/app.js"} {
			evil.change(file)
			for name, r := range map[string]result{
				"by the agent": w.computer.try("hub", "verify"),
				"by its URL":   home(t).try("hub", "verify", evil.origin),
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
		if r := home(t).try("hub", "verify", "http://localhost:"+testkit.FreePort(t)); r.exit != 1 || !strings.Contains(r.stderr, "\nhint: curl -v http://localhost:") {
			t.Errorf("exit %d, %s", r.exit, r.stderr)
		}
	})
}

// Another user of this computer, whose hub has the address first, gets no agent to use it: it
// could serve its own page to the phones of whoever believes it to be theirs.
func TestAnotherUsersHubIsNotTheAgents(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	others := startHub(newHome(t), "--listen", "127.0.0.1:"+port, "--public-url", "http://vmux.localhost:"+port)
	w := &world{TB: t, computer: newHome(t)}
	w.startAgent("--lan=false", "--hub", "local", "--hub-listen", "127.0.0.1:"+port)
	w.waitStatus("the hub beside the agent does not run: vmux-hub: listen for the hub: listen tcp 127.0.0.1:" + port + ": bind: address already in use")
	if r := w.computer.try("status"); !strings.Contains(r.stderr, "\nhint: end what listens there; or, if it is another user's hub, give this one a port of its own: hub-listen in ") {
		t.Errorf("no such hint: %s", r.stderr)
	}
	others.stop()
	w.waitHub(true)
	if text := w.agent.log(); strings.Index(text, `msg="hub connected"`) < strings.Index(text, `msg="hub is ready"`) {
		t.Errorf("it was connected to another's hub:\n%s", text)
	}
}
