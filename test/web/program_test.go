package web

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// A program that cannot be compiled while it comes is read as a whole and run.
func TestNoStreaming(t *testing.T) {
	hub := StartHub(t)
	for _, used := range []any{true, false, nil} {
		page := NewBrowser(t).Tab()
		page.Quirk("no-streaming", used)
		page.Go(hub.URL + "/")
		page.Wants("How to begin")
		page.MustCall("rename", map[string]string{"name": "mine"}, nil)
	}
}

// A proxy that gives each program a type of its own: the app runs before and after its
// worker has the files.
func TestProxyWithAnotherType(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Open(startProxy(t, hub, func(r *http.Response) {
		if strings.HasSuffix(r.Request.URL.Path, ".wasm") {
			r.Header.Set("Content-Type", "application/octet-stream")
		}
	}) + "/")
	page.Wants("How to begin")
	page.WaitFor("navigator.serviceWorker.controller !== null")
	page.Reload()
	page.Wants("How to begin")
	page.MustCall("rename", map[string]string{"name": "mine"}, nil)
}

// startProxy is a reverse proxy before the hub, which changes its answers; it returns its URL.
func startProxy(t *testing.T, hub *Hub, change func(*http.Response)) string {
	t.Helper()
	target, err := url.Parse("http://127.0.0.1:" + hub.port)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = strings.TrimPrefix(hub.URL, "http://") },
		ModifyResponse: func(r *http.Response) error { change(r); return nil },
	}
	return serveAt(t, proxy)
}

// A module that does not come, or cannot be read, leaves a page of which nothing runs: it
// is loaded again, once, and then says so.
func TestModuleThatDoesNotCome(t *testing.T) {
	hub := StartHub(t)
	for _, c := range []struct {
		what  string
		file  string
		times int32 // that it does not come
		body  string
		says  string
	}{
		{"once", "/storage.js", 1, "", ""},
		{"once, of the program", "/wasm_exec.js", 1, "", ""},
		{"for a while", "/storage.js", 1 << 20, "", "A part of it could not be loaded. See that this device is online and that no content blocker stops it, then try again."},
		{"too new for the browser", "/storage.js", 1 << 20, "export new;", "Bring the browser up to date, or use another one."},
	} {
		t.Run(c.what, func(t *testing.T) {
			var left, loads atomic.Int32
			left.Store(c.times)
			page := NewBrowser(t).Open(startProxy(t, hub, func(r *http.Response) {
				if r.Request.URL.Path == "/" {
					loads.Add(1)
				}
				if !strings.HasSuffix(r.Request.URL.Path, c.file) || left.Add(-1) < 0 {
					return
				}
				if c.body == "" {
					r.StatusCode = http.StatusBadGateway
					return
				}
				r.Header.Del("Content-Encoding")
				r.Header.Del("ETag") // it is another file
				r.Header.Set("Content-Type", "text/javascript")
				r.Header.Set("Content-Length", strconv.Itoa(len(c.body)))
				r.StatusCode = http.StatusOK // also where it would be "not modified"
				r.ContentLength, r.Body = int64(len(c.body)), io.NopCloser(strings.NewReader(c.body))
			}) + "/#v=1&d=none&s=none")
			if c.says != "" {
				page.Wants("The app could not start", c.says)
				if n := loads.Load(); n != 2 {
					t.Errorf("loaded %d times", n)
				}
				left.Store(0)
				page.Tap("Try again")
			}
			page.WaitFor("location.hash === '#pair'") // the invitation was not lost
		})
	}
}

// What the app says where the program cannot be had or run: which of the two it is, and
// what to do.
func TestProgramThatCannotRun(t *testing.T) {
	const policy = `WebAssembly.instantiate(): Refused to compile or instantiate WebAssembly module because 'unsafe-eval' is not an allowed source of script in the following Content Security Policy directive: "script-src 'self'"`
	hub := StartHub(t)
	for _, c := range []struct {
		quirk string
		args  []any
		code  string
		says  []string
	}{
		{"no-webassembly", nil, "noWebAssembly", []string{"This browser runs no WebAssembly", "Lockdown Mode", "allow it for this site"}},
		{"no-webassembly", []any{policy}, "wasmRefused", []string{"This page may not run WebAssembly", "A proxy before the hub must pass on"}},
		{"no-webassembly", []any{"Wasm code generation disallowed by embedder"}, "wasmRefused", []string{"This page may not run WebAssembly", "allow WebAssembly for this site"}},
		{"no-webassembly", []any{"invalid opcode 0xfc"}, "wasmRefused", []string{"This browser cannot run the signer (invalid opcode 0xfc).", "Bring the browser up to date"}},
		{"little-memory", []any{100}, "littleMemory", []string{"too little memory", "Close other apps and browser tabs"}},
		{"little-memory", []any{100, "WebAssembly.instantiate(): Out of memory: Cannot allocate Wasm memory for new instance"}, "littleMemory", []string{"too little memory"}},
		{"little-memory", []any{100, "Out of executable memory in function at index 7"}, "littleMemory", []string{"too little memory"}},
		{"little-memory", []any{1}, "", []string{"How to begin"}}, // a moment later there is enough
	} {
		page := NewBrowser(t).Tab()
		page.Quirk(c.quirk, c.args...)
		page.Go(hub.URL + "/")
		for _, text := range c.says {
			page.Wants(text)
		}
		var f *Failure
		if err := page.Run("return 1", nil); c.code != "" && (!errors.As(err, &f) || f.Code != c.code || f.Hint == "") {
			t.Errorf("%s %v: %v", c.quirk, c.args, err)
		}
	}
}

// The same by real answers of a proxy in between: a policy of its own, a sign-in page in
// place of the program, an error, a hub that is gone.
func TestProxyInTheWay(t *testing.T) {
	hub := StartHub(t)
	for _, c := range []struct {
		what   string
		change func(*http.Response)
		says   []string
	}{
		{"a policy", func(r *http.Response) {
			r.Header.Set("Content-Security-Policy", strings.ReplaceAll(r.Header.Get("Content-Security-Policy"), " 'wasm-unsafe-eval'", ""))
		}, []string{"This page may not run WebAssembly", "A proxy before the hub must pass on"}},
		{"a page", func(r *http.Response) {
			if strings.HasSuffix(r.Request.URL.Path, ".wasm") {
				r.Header.Set("Content-Type", "text/html")
				r.Header.Del("Content-Encoding")
				r.Header.Del("Content-Length")
				r.Body = http.NoBody
			}
		}, []string{"something else came in its place", "A sign-in page of this network"}},
		{"an error", func(r *http.Response) {
			if strings.HasSuffix(r.Request.URL.Path, ".wasm") {
				r.StatusCode = http.StatusBadGateway
			}
		}, []string{"The signer could not be loaded (status 502).", "online"}},
		{"an error for the other file", func(r *http.Response) {
			if strings.HasSuffix(r.Request.URL.Path, "/wasm_exec.js") {
				r.StatusCode = http.StatusServiceUnavailable
			}
		}, []string{"The signer could not be loaded (status 503).", "online"}},
		{"no such file", func(r *http.Response) {
			if strings.HasSuffix(r.Request.URL.Path, "/wasm_exec.js") {
				r.StatusCode = http.StatusNotFound
			}
		}, []string{"This hub was built without the signer."}},
	} {
		page := NewBrowser(t).Open(startProxy(t, hub, c.change) + "/")
		page.Wants("The app could not start")
		for _, text := range c.says {
			page.Wants(text)
		}
	}
}

// A signer that has ended, by itself or by a trap of the browser's, ends the page, and what
// was waiting for it: nothing waits for ever.
func TestSignerThatEnded(t *testing.T) {
	hub := StartHub(t)
	for _, how := range []string{"ends", "traps"} {
		page := NewBrowser(t).Tab()
		page.BeforeLoad(`
			let made;
			Object.defineProperty(globalThis, 'Go', {
				get: () => made,
				set(Go) {
					made = class extends Go { constructor() { super(); globalThis.signer ??= this; } };
				},
			});
			globalThis.end = (how) => {
				const go = globalThis.signer;
				if (how === 'ends') {
					go.exited = true;
					go._resolveExitPromise();
				} else {
					Object.defineProperty(go, '_inst', { value: { exports: { resume() { throw new WebAssembly.RuntimeError('memory access out of bounds'); } } } });
				}
			};`)
		page.Go(hub.URL + "/")
		page.Wants("How to begin")
		var f *Failure
		err := page.Run("end("+quoted(how)+"); await core.call('rename', { name: 'mine' })", nil)
		if !errors.As(err, &f) || f.Code != "stopped" || !strings.Contains(f.Hint, "Reload the page.") {
			t.Errorf("%s: %v", how, err)
		}
		page.Wants("This page has ended")
		page.Tap("Reload")
		page.Wants("How to begin")
	}
}

// A browser that never tells how much space is left, or whether this device can confirm its
// user, does not hold the app.
func TestBrowserThatDoesNotAnswer(t *testing.T) {
	page := NewBrowser(t).Tab()
	page.BeforeLoad(`
		StorageManager.prototype.estimate = StorageManager.prototype.persisted = () => new Promise(() => {});
		PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable = () => new Promise(() => {});
		PublicKeyCredential.getClientCapabilities = () => new Promise(() => {});`)
	page.Go(StartHub(t).URL + "/")
	page.Wants("How to begin")
}

func quoted(s string) string { return "'" + s + "'" }

// serveAt serves a handler under a host name of the browser's own until the test ends.
func serveAt(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "vmux.localhost", 1)
}

// The program that the worker keeps is compared with the accepted list at each start: one
// that was damaged is loaded anew, and where it cannot be, the next start says so.
func TestDamagedProgram(t *testing.T) {
	const damage = `(async () => {
		const store = (await caches.keys()).find((name) => name.startsWith('vmux-app-'));
		await (await caches.open(store)).put('/vmux.wasm', new Response('\0asm of another', { headers: { 'Content-Type': 'application/wasm' } }));
		return true;
	})()`
	hub := StartHub(t)
	page := NewBrowser(t).Open(hub.URL + "/")
	page.WaitFor("navigator.serviceWorker.controller !== null")
	page.Check(damage)
	page.Reload()
	page.Wants("How to begin")
	hub.Stop()
	page.Check(damage)
	page.Reload()
	// The page may take what has failed for what came past the worker, and load itself again.
	page.WaitFor("/could not be loaded|has lost 1 of the/.test(document.body.innerText)")
	page.Go(hub.URL + "/")
	page.Wants("has lost 1 of the")
}
