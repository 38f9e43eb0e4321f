package webapp

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const script = "export const answer = 42; // the answer, the answer, the answer, the answer\n"

var wasm = append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte("code"), 1000)...)

const hashedName = "core-0123456789abcdef.js"

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buffer bytes.Buffer
	z := gzip.NewWriter(&buffer)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func appFiles(t *testing.T) fstest.MapFS {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	return fstest.MapFS{
		"index.html":           file([]byte("<!DOCTYPE html><title>vmux</title>")),
		"app.js":               file([]byte(script)),
		hashedName:             file([]byte(script)),
		"sw.js":                file([]byte("self")),
		"app.webmanifest":      file([]byte("{}")),
		"style.css":            file([]byte("p{}")),
		"icons/icon.svg":       file([]byte("<svg/>")),
		"icons/icon.png":       file([]byte("\x89PNG")),
		"vmux.wasm.gz":         file(zipped(t, wasm)),
		"vmux.wasm.br":         file([]byte("brotli's bytes")),
		"data.bin":             file([]byte{1, 2, 3}),
		".gitignore":           file([]byte("*")),
		"icons/.secret/key.js": file([]byte("no")),
	}
}

func handler(t *testing.T, files fs.FS) *Handler {
	t.Helper()
	h, err := New(files, Policy)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "https://hub.example/", nil)
	r.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTypesAndCaching(t *testing.T) {
	h := handler(t, appFiles(t))
	for name, want := range map[string]string{
		"": "text/html; charset=utf-8", "index.html": "text/html; charset=utf-8",
		"app.js": "text/javascript; charset=utf-8", "sw.js": "text/javascript; charset=utf-8",
		"app.webmanifest": "application/manifest+json", "style.css": "text/css; charset=utf-8",
		"icons/icon.svg": "image/svg+xml", "icons/icon.png": "image/png", "vmux.wasm": "application/wasm",
		"data.bin": "application/octet-stream",
	} {
		resp := get(h, "GET", "/"+name)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != want {
			t.Errorf("/%s: %d, %s, want %s", name, resp.StatusCode, resp.Header.Get("Content-Type"), want)
		}
		if got := resp.Header.Get("Cache-Control"); got != "no-cache, no-transform" {
			t.Errorf("/%s: Cache-Control: %s", name, got)
		}
	}
	if got := get(h, "GET", "/"+hashedName).Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("a name that changes with its contents: Cache-Control: %s", got)
	}
}

// Whatever is answered, an error too, keeps foreign scripts and frames out.
func TestSecurityHeaders(t *testing.T) {
	full, empty := handler(t, appFiles(t)), handler(t, fstest.MapFS{})
	for name, resp := range map[string]*http.Response{
		"page": get(full, "GET", "/"), "nothing": get(full, "GET", "/none"), "post": get(full, "POST", "/"),
		"not built": get(empty, "GET", "/"),
	} {
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "connect-src 'self'",
			"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
		} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy without %s: %s", name, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "unsafe-eval'") && !strings.Contains(policy, "'wasm-unsafe-eval'") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy: %s", name, policy)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := resp.Header.Get(header); got != want {
				t.Errorf("%s: %s: %q, want %q", name, header, got, want)
			}
		}
		for _, want := range []string{"camera=(self)", "publickey-credentials-get=(self)", "publickey-credentials-create=(self)", "microphone=()"} {
			if !strings.Contains(resp.Header.Get("Permissions-Policy"), want) {
				t.Errorf("%s: Permissions-Policy without %s", name, want)
			}
		}
	}
	own, err := New(appFiles(t), "default-src 'none'")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(own, "GET", "/").Header.Get("Content-Security-Policy"); got != "default-src 'none'" {
		t.Errorf("own policy: %s", got)
	}
}

func TestEncodings(t *testing.T) {
	h := handler(t, appFiles(t))
	for _, test := range []struct{ path, accept, want string }{
		{"/vmux.wasm", "gzip, deflate, br, zstd", "br"}, // browsers, over TLS
		{"/vmux.wasm", "gzip, deflate", "gzip"},         // browsers, without
		{"/vmux.wasm", "br;q=0, gzip;q=0.5", "gzip"},
		{"/vmux.wasm", "BR", "br"},
		{"/vmux.wasm", "*", "br"},
		{"/vmux.wasm", "*;q=0, gzip", "gzip"},
		{"/vmux.wasm", "br;q=nonsense, zstd", ""},
		{"/vmux.wasm", "", ""},
		{"/app.js", "gzip, br", "gzip"}, // compressed here
		{"/app.js", "identity", ""},
		{"/icons/icon.png", "gzip, br", ""}, // there is nothing to gain
	} {
		resp := get(h, "GET", test.path, "Accept-Encoding", test.accept)
		if got := resp.Header.Get("Content-Encoding"); got != test.want || resp.StatusCode != http.StatusOK {
			t.Errorf("%s for %q: %d, %q, want %q", test.path, test.accept, resp.StatusCode, got, test.want)
		}
		if resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Vary: %s", test.path, resp.Header.Get("Vary"))
		}
	}
	if resp := get(h, "GET", "/app.js", "Accept-Encoding", "*;q=0"); resp.StatusCode == http.StatusOK {
		t.Error("something was found for a client that takes nothing")
	}
	// Who takes no compression gets what was compressed before.
	if got := body(t, get(h, "GET", "/vmux.wasm")); got != string(wasm) {
		t.Errorf("as it is: %d bytes, want %d", len(got), len(wasm))
	}
	z, err := gzip.NewReader(get(h, "GET", "/app.js", "Accept-Encoding", "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != script {
		t.Errorf("compressed here: %q, %v", b, err)
	}
}

// Each form of a file has its own tag, and comes once only.
func TestETags(t *testing.T) {
	h := handler(t, appFiles(t))
	seen := map[string]bool{}
	for _, accept := range []string{"br", "gzip", "identity"} {
		first := get(h, "GET", "/vmux.wasm", "Accept-Encoding", accept)
		tag := first.Header.Get("ETag")
		if len(tag) < 34 || seen[tag] {
			t.Errorf("%s: ETag %s", accept, tag)
		}
		seen[tag] = true
		for _, has := range []string{tag, `"other", ` + tag, "W/" + tag, "*"} {
			again := get(h, "GET", "/vmux.wasm", "Accept-Encoding", accept, "If-None-Match", has)
			if again.StatusCode != http.StatusNotModified || body(t, again) != "" || again.Header.Get("ETag") != tag {
				t.Errorf("%s: If-None-Match: %s: %d", accept, has, again.StatusCode)
			}
		}
		if other := get(h, "GET", "/vmux.wasm", "Accept-Encoding", accept, "If-None-Match", `"other"`); other.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", accept, other.StatusCode)
		}
	}
	changed := appFiles(t)
	changed["app.js"].Data = []byte(script + " ")
	if get(h, "GET", "/app.js").Header.Get("ETag") == get(handler(t, changed), "GET", "/app.js").Header.Get("ETag") {
		t.Error("another file, the same ETag")
	}
}

func TestMethods(t *testing.T) {
	h := handler(t, appFiles(t))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
		if resp := get(h, method, "/"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
	head := get(h, "HEAD", "/app.js")
	if head.StatusCode != http.StatusOK || head.ContentLength != int64(len(script)) || body(t, head) != "" {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
}

// An attacker asks for what is beside the app, on a real disk.
func TestNothingElseIsServed(t *testing.T) {
	root := t.TempDir()
	app := filepath.Join(root, "app")
	if err := os.CopyFS(app, appFiles(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "secret"), filepath.Join(app, "link.txt")); err != nil {
		t.Fatal(err)
	}
	h := handler(t, os.DirFS(app))
	server := httptest.NewServer(h)
	defer server.Close()
	for _, path := range []string{
		"/../secret", "/icons/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/icons/..%5c..%5csecret", "//secret",
		"/app/../../secret", "/link.txt", "/.gitignore", "/icons/.secret/key.js", "/icons", "/icons/", "/vmux.wasm.br",
		"/index.html/", "/./index.html", "/index.html%00", "/%00", "//index.html", "/etc/passwd", "*",
	} {
		if status, text := raw(t, server.Listener.Addr().String(), path); !strings.Contains(status, " 404 ") &&
			!strings.Contains(status, " 400 ") || strings.Contains(text, "secret") {
			t.Errorf("GET %s: %s", path, status)
		}
	}
	if status, _ := raw(t, server.Listener.Addr().String(), "/index.html"); !strings.Contains(status, " 200 ") {
		t.Errorf("the page itself: %s", status)
	}
}

// raw sends the path as it stands: clients clean what they send.
func raw(t *testing.T, address, path string) (status, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	status, text, _ = strings.Cut(string(b), "\r\n")
	return status, text
}

func TestNotBuilt(t *testing.T) {
	for name, files := range map[string]fs.FS{"empty": fstest.MapFS{}, "no page": fstest.MapFS{"app.js": {Data: []byte(script)}}} {
		resp := get(handler(t, files), "GET", "/")
		if text := body(t, resp); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "make build") {
			t.Errorf("%s: %d: %s", name, resp.StatusCode, text)
		}
	}
}

// A client that is not Go's finds its way through encodings and tags.
func TestCurl(t *testing.T) {
	server := httptest.NewServer(handler(t, appFiles(t)))
	defer server.Close()
	tags := filepath.Join(t.TempDir(), "tags")
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"-sS", "--fail"}, args...)...).Output()
		if err != nil {
			t.Fatalf("curl: %v (run make setup if it is missing)", err)
		}
		return string(out)
	}
	if got := curl("--compressed", "--etag-save", tags, server.URL+"/app.js"); got != script {
		t.Errorf("curl: %q", got)
	}
	if got := curl("--compressed", "--etag-compare", tags, "-w", "%{http_code}", server.URL+"/app.js"); got != "304" {
		t.Errorf("curl, again: %q", got)
	}
}
