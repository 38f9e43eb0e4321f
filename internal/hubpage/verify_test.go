package hubpage

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

var files = map[string]string{
	indexFile: "<!doctype html>", workerFile: "self.skipWaiting", "app.js": strings.Repeat("app();", 100),
	versionFile: "export const version = \"" + strings.Repeat("a", 64) + "\";\n",
}

func exampleList() *List {
	l := &List{Version: strings.Repeat("a", 64), Headers: map[string]string{"Content-Security-Policy": "default-src 'none'"}, Files: map[string]File{}}
	for name, text := range files {
		sum := sha256.Sum256([]byte(text))
		l.Files[name] = File{SHA256: hex.EncodeToString(sum[:]), ContentType: "text/plain"}
	}
	return l
}

// honest serves the files as a hub does, in the best encoding that is taken.
func honest(w http.ResponseWriter, r *http.Request) { serve(w, r, files) }

func serve(w http.ResponseWriter, r *http.Request, files map[string]string) {
	w.Header().Add("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Content-Type", "text/plain")
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = indexFile
	}
	text, ok := files[name]
	if !ok {
		http.Error(w, "nothing", http.StatusNotFound)
		return
	}
	if taken := r.Header.Get("Accept-Encoding"); strings.Contains(taken, "br") {
		text = packed("br", text)
		w.Header().Set("Content-Encoding", "br")
	} else if strings.Contains(taken, "gzip") {
		text = packed("gzip", text)
		w.Header().Set("Content-Encoding", "gzip")
	}
	_, _ = w.Write([]byte(text))
}

func packed(encoding, text string) string {
	var b bytes.Buffer
	if encoding == "br" {
		z := brotli.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return b.String()
	}
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

// changed serves one file otherwise.
func changed(name, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		other := map[string]string{}
		for n, t := range files {
			other[n] = t
		}
		other[name] = text
		serve(w, r, other)
	}
}

func verify(t *testing.T, hub http.HandlerFunc) Report {
	t.Helper()
	s := httptest.NewServer(hub)
	defer s.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	r, err := Verify(t.Context(), client, s.URL, exampleList())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHonestHub(t *testing.T) {
	if r := verify(t, honest); len(r.Differences) != 0 || r.Files != len(files) || r.Serves != "" {
		t.Errorf("%+v", r)
	}
}

// Each of these is a way in which evilhub can get at what the page holds.
func TestMaliciousHub(t *testing.T) {
	header := func(name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add(name, value)
			honest(w, r)
		}
	}
	only := func(when func(*http.Request) bool, then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if when(r) {
				then(w, r)
				return
			}
			honest(w, r)
		}
	}
	at := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Path == path }
	}
	for name, test := range map[string]struct {
		hub  http.HandlerFunc
		want string
	}{
		"its own service worker": {changed(workerFile, "self.skipWaiting(); evil()"), "/sw.js is another file"},
		"a service worker for those who install one": {
			only(func(r *http.Request) bool { return r.Header.Get("Service-Worker") != "" }, changed(workerFile, "evil()")), "/sw.js is another file",
		},
		"another script": {changed("app.js", "evil()"), "/app.js is another file"},
		"another page at the root alone": {
			only(at("/"), changed(indexFile, "evil")), "/ is another file",
		},
		"another script in one encoding": {
			only(func(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept-Encoding"), "br") }, changed("app.js", "evil()")),
			"/app.js is another file",
		},
		"another script for one kind of phone": {
			only(func(r *http.Request) bool { return strings.Contains(r.UserAgent(), "Android") }, changed("app.js", "evil()")), "/app.js is another file",
		},
		"bytes behind the file":             {changed("app.js", files["app.js"]+"evil()"), "/app.js is another file"},
		"a policy beside the policy":        {header("Content-Security-Policy", "default-src *"), "has another Content-Security-Policy"},
		"a larger scope for a worker":       {header("Service-Worker-Allowed", "/"), "Service-Worker-Allowed"},
		"keys deleted":                      {header("Clear-Site-Data", `"*"`), "Clear-Site-Data"},
		"led elsewhere":                     {only(at("/app.js"), func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/evil.js", http.StatusFound) }), `/app.js leads elsewhere: to "/evil.js"`},
		"led elsewhere later":               {header("Refresh", "5; url=/evil"), "Refresh"},
		"a file left out":                   {only(at("/app.js"), http.NotFound), "/app.js is not served: HTTP status 404"},
		"passkeys for pages of other hosts": {changed(".well-known/webauthn", `{"origins":["https://evil.example"]}`), "/.well-known/webauthn is served"},
		"passkeys for an Android app":       {changed(".well-known/assetlinks.json", `[]`), "/.well-known/assetlinks.json is served"},
		"an answer to everything": {func(w http.ResponseWriter, r *http.Request) {
			if name := strings.TrimPrefix(r.URL.Path, "/"); name != "" && files[name] == "" {
				r.URL.Path = "/"
			}
			honest(w, r)
		}, "and is no file of the app"},
		"an encoding of its own": {only(at("/app.js"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "zstd")
			fmt.Fprint(w, "?")
		}), `its encoding is "zstd"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(t, test.hub)
			for _, d := range r.Differences {
				if strings.Contains(d.Path+" "+d.What, test.want) {
					return
				}
			}
			t.Errorf("differences: %+v, want one with %q", r.Differences, test.want)
		})
	}
}

// A hub of another release says so itself, if it is honest.
func TestAnotherRelease(t *testing.T) {
	other := strings.Repeat("b", 64)
	r := verify(t, changed(versionFile, "export const version = \""+other+"\";\n"))
	if r.Serves != other || len(r.Differences) != 1 {
		t.Errorf("%+v", r)
	}
}

// A hub that cannot be reached has not been compared: that is no clean result.
func TestNoHub(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(honest))
	s.Close()
	if r, err := Verify(t.Context(), &http.Client{}, s.URL, exampleList()); err == nil {
		t.Errorf("%+v without an error", r)
	}
}
